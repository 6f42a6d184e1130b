"""A web server in the mesh that greets each caller by name. No root, no open port on this machine.

WAYPOST_AUTH_KEY=... python server.py --control-url https://control.example.net --state-dir ~/greeter
"""

from __future__ import annotations

import argparse
import asyncio
import os

from aiohttp import web

from appliance.embed import Node


def application(node: Node) -> web.Application:
    async def greet(request: web.Request) -> web.Response:
        caller = await node.whois(request.remote or "")
        who = caller.user or ", ".join(caller.tags)
        return web.Response(text=f"hello {caller.name.partition('.')[0]} of {who}\n")

    app = web.Application()
    app.add_routes([web.get("/", greet)])
    return app


async def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--control-url", required=True)
    options.add_argument("--state-dir", required=True, help="keeps this node's keys")
    options.add_argument("--hostname", default="greeter")
    given = options.parse_args()
    async with Node(
        given.state_dir,
        control_url=given.control_url,
        hostname=given.hostname,
        auth_key=os.environ.get("WAYPOST_AUTH_KEY", ""),
        on_login=lambda url: print("log in at", url, flush=True),
    ) as node:
        runner = web.AppRunner(application(node))
        await runner.setup()
        try:
            await node.sites(runner, port=80)
            print("serving on", *await node.addresses(), flush=True)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("bye")
