"""Parts of tables in Markdown."""


def code(name):
    return f"`{name}`"


def head(*cells):
    return f"{line(*cells)}\n|{'---|' * len(cells)}"


def line(*cells):
    return f"| {' | '.join(cells)} |"
