"""Proxies from environment variables, as urllib, requests and MLflow use them."""

from __future__ import annotations

import urllib.parse
import urllib.request


def through_proxy(url: str) -> str:
    """Return a phrase for error messages that names the environment variable of a URL's proxy; "" without a proxy."""
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme not in urllib.request.getproxies() or urllib.request.proxy_bypass(host):
        return ""
    return f", through the proxy of {parts.scheme}_proxy: if it needs none, add {host} to no_proxy"
