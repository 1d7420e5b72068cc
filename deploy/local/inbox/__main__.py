"""`python -m deploy.local.inbox --http-port 8025 --smtp-port 1025`"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

from aiohttp import web

from deploy.local.inbox.behaviour import Temper
from deploy.local.inbox.mail_server import serve
from deploy.local.inbox.mailbox import Mailbox
from deploy.local.inbox.receipts import Receipts
from deploy.local.inbox.web import application


async def run(host: str, http_port: int, smtp_port: int, bounce_port: int, key: str) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    mailbox, temper = Mailbox(), Temper()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    mail = await serve(mailbox, temper, host=host, port=smtp_port, bounce_port=bounce_port)
    runner = web.AppRunner(application(mailbox, temper, Receipts(key)), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, host, http_port).start()
    print(f"Inbox: http://{host}:{http_port}/, mail on port {smtp_port}", flush=True)
    await ended.wait()
    mail.close()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(prog="inbox", description="Keeps mails and text messages and shows them.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--http-port", type=int, default=8025)
    parser.add_argument("--smtp-port", type=int, default=1025)
    parser.add_argument("--bounce-port", type=int, default=0, help="where bounces are sent to over SMTP; 0: nowhere")
    options = parser.parse_args()
    key = os.environ.get("CONVIVE_SMS_SIGNING_KEY", "")
    asyncio.run(run(options.host, options.http_port, options.smtp_port, options.bounce_port, key))


if __name__ == "__main__":
    main()
