"""Fetch a page of a peer through the mesh, from a machine that is in no mesh. The node is forgotten at the end.

WAYPOST_AUTH_KEY=... python client.py --control-url https://control.example.net http://greeter/
"""

from __future__ import annotations

import argparse
import asyncio
import os

import aiohttp

from appliance.embed import Node


async def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--control-url", required=True)
    options.add_argument("--hostname", default="reader")
    options.add_argument("url")
    given = options.parse_args()
    async with (
        Node(
            control_url=given.control_url,
            hostname=given.hostname,
            auth_key=os.environ.get("WAYPOST_AUTH_KEY", ""),
        ) as node,
        aiohttp.ClientSession(connector=node.connector()) as session,
        session.get(given.url) as response,
    ):
        print(await response.text(), end="")


if __name__ == "__main__":
    asyncio.run(main())
