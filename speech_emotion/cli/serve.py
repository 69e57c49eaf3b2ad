"""`ser serve`: a saved model behind an address."""

import argparse
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path

from speech_emotion.cli.command import add_model
from speech_emotion.extras import check_extra
from speech_emotion.terminal import CommandParser, positive_number, say, whole_number

TOKEN = "SER_TOKEN"
NEEDED = ("fastapi", "prometheus_client", "uvicorn", "websockets")
GRACE = 30  # s that requests have to be answered, once the service is to end
MESSAGE = 1 << 20  # bytes that a message of a stream may have
LOCAL = ("127.0.0.1", "::1", "localhost")


def get_parser(prog: str = "ser serve") -> CommandParser:
    """Return the parser of `ser serve`."""
    parser = CommandParser(
        prog=prog,
        description="Serve a model over HTTP, in the shape of the Hub's inference: POST / scores a clip, /timeline a "
        "recording, the WebSocket /stream live sound; /health and /metrics tell how it does. Needs the extra serve.",
        epilog=f"Where the environment has {TOKEN}, or --token-file is given, clients must send that token.",
    )
    add_model(parser)
    parser.add_argument("--host", default=LOCAL[0], help="address to listen at (default: this machine only)")
    parser.add_argument("--port", type=whole_number(0), default=8000, help="(default: 8000; 0 for any that is free)")
    parser.add_argument("--token-file", metavar="FILE", help="whose content clients must send as their bearer token")
    parser.add_argument(
        "--batch-size", type=whole_number(1), default=8, help="clips that are computed together (default: 8)"
    )
    group = parser.add_argument_group("limits, beyond which requests are refused")
    for option, reader, value, what in (
        ("--max-bytes", whole_number(1), 50_000_000, "of a request"),
        ("--max-seconds", positive_number, 60.0, "of a clip's sound"),
        ("--max-recording", positive_number, 3600.0, "seconds of a recording's or a stream's sound"),
        ("--max-waiting", whole_number(1), 64, "requests that are worked on or wait"),
        ("--max-streams", whole_number(1), 16, "streams at a time"),
        ("--timeout", positive_number, 60.0, "seconds to send a request in, and to answer that of a clip"),
        ("--recording-timeout", positive_number, 600.0, "seconds to answer the request of a recording"),
    ):
        group.add_argument(option, type=reader, default=value, metavar="N", help=f"{what} (default: {value:.0f})")
    parser.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> Iterator[str]:
    """Serve until Ctrl-C or SIGTERM, then answer what was asked and end."""
    check_extra("serve", "Serving", *NEEDED)
    token = given_token(args.token_file)
    place = listening(args.host, args.port)
    import uvicorn

    from speech_emotion.cli.listen import seconds_of_a_window
    from speech_emotion.cli.predict import load_classifier
    from speech_emotion.inference.service import Limits, make_app

    classifier = load_classifier(args.model, args.revision, args.device, args.batch_size)
    needed = seconds_of_a_window(classifier, 4.0)  # everything is in memory then
    limits = Limits(
        args.max_bytes, args.max_seconds, args.max_recording, args.max_waiting, args.max_streams, args.timeout,
        args.recording_timeout,
    )  # fmt: skip
    app = make_app(classifier, limits, token, args.batch_size)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws_max_size=MESSAGE,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=GRACE,
    )
    logging.getLogger("speech_emotion.inference.service").setLevel(logging.INFO)
    warnings.simplefilter("ignore")  # of what is odd about a client's sound
    if token is None and args.host not in LOCAL:
        say(f"warning: whoever reaches {args.host} may use this service; {TOKEN} asks for a token.", error=True)
    host, port = place.getsockname()[:2]
    yield (
        f"Serving at http://{f'[{host}]' if ':' in host else host}:{port} until Ctrl-C; 4 s of sound take "
        f"{1000 * needed:.0f} ms."
    )
    server = uvicorn.Server(config)
    try:
        server.run([place])
    except KeyboardInterrupt:  # which uvicorn gives on, once it has ended
        if not server.started:
            raise
    yield "Ended; what was asked is answered."


def given_token(file: str | None) -> str | None:
    """Read the token that clients must send, of a file or the environment."""
    token = os.environ.get(TOKEN) if file is None else Path(file).read_text(encoding="utf-8").strip()
    if token is not None and (not token or not token.isascii() or not token.isprintable() or " " in token):
        raise ValueError(f"{file or TOKEN}: a token is a line of letters, digits and signs without spaces.")
    return token


def listening(host: str, port: int) -> socket.socket:
    """Listen at an address, before the model is loaded."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise OSError(f"--host {host} --port {port}: {getattr(error, 'strerror', None) or error}.") from error
