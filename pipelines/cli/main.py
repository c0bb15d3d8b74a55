"""``gristmill``: finds the command and imports only its module, so that ``--help`` is fast."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from ... import __version__
from ...contracts.errors import GristmillError
from ...contracts.guard import guarded
from ...contracts.printable import shown

#: command -> summary. Kept here, so that the list of commands imports none of their modules.
COMMANDS = {
    "run": "run a pipeline file, or resume a run that was stopped",
    "plan": "show what a run would do, reuse and cost, and why it differs from an earlier one",
    "preview": "try a pipeline on a few rows and print the rows of each step",
    "why": "show what happened to a row, step by step",
    "explain": "trace trained weights back to batches, rows, prompts and seeds",
    "keep": "try another condition on scored rows, without scoring again",
    "rows": "print the rows of a step, those that it filtered or that failed too",
    "diff": "show how two runs differ: files, settings, ledgers, rows",
    "loop": "show the rounds of a run, compare them, or begin a new run from one",
    "report": "write the report of a run",
    "replay": "make the deterministic steps of a run again, and compare them byte by byte",
    "check": "read every byte of a run and list damaged files",
    "recipes": "list the packaged pipeline files",
    "init": "copy a packaged pipeline file, to edit it",
    "help": "explain a verb, an operator, or a part of a pipeline file",
    "schema": "write the JSON Schema of pipeline files, for editors",
    "train": "train a model on a file of rows, outside a pipeline",
    "eval": "measure models on task files, and compare them item by item",
    "chat": "talk to a model, or to several side by side",
    "merge": "merge adapters, sparse deltas and fine-tuned models into one model",
    "compress": "write what a training changed in few bits per weight",
    "quantize": "write a model's linear layers in 4 bits",
    "export": "write a model, or a trained adapter, as a GGUF file for llama.cpp",
    "models": "list, fetch and remove models",
    "doctor": "show what this machine offers: cores, memory, GPUs, engines, sandbox",
}

#: The exit code of an internal error (BSD's EX_SOFTWARE).
INTERNAL = 70
INTERRUPTED = 130

DEBUG = "show where an error comes from"
DESCRIPTION = "Turn seeds into verified training data, the data into a better model, and loop."
EPILOG = "Start with: gristmill run quickstart. Help on a command: gristmill COMMAND --help"


class UnknownCommand(GristmillError):
    """The first word is not a command."""

    exit_code = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with guarded():
        if "TORCHELASTIC_RUN_ID" in os.environ:
            from ..run.training.torchrun import only_once

            return only_once(lambda: _run(given))
        return _run(given)


def _run(given: list[str]) -> int:
    try:
        code = _dispatch(given)
        # Flushed here, so that an error is handled quietly and not raised when the interpreter exits.
        sys.stdout.flush()
        return code
    except GristmillError as error:
        print(_where(given) or error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(_where(given), end="", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) is gone: nothing is left to print, and no later flush may fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        said = " ".join(shown(str(error)).split())[:300]
        told = f"internal error: {type(error).__name__}: {said} (run with --debug for where)"
        print(_where(given) or told, file=sys.stderr)
        return INTERNAL


def _where(given: list[str]) -> str:
    """With ``--debug``, print the traceback of the current error.

    It is printed here, since the interpreter would bypass the guard.
    """
    return traceback.format_exc() if "--debug" in given else ""


def _dispatch(given: list[str]) -> int:
    parser = _parser()
    command = next((word for word in given if not word.startswith("-")), None)
    if command not in COMMANDS:
        if command is None and not given:
            parser.print_help()
            return 0
        if command is not None:
            from ...contracts.nearest import suggestion

            raise UnknownCommand(f"unknown command: {suggestion(command, COMMANDS)}")
        parser.parse_args(given)  # --help, --version, or a mistake: argparse prints it and exits
        return 0
    at = given.index(command)
    parser.parse_args([*given[:at], command])
    module = importlib.import_module(f".{command}", __package__)
    code: int = module.main(parser_of(command).parse_args(given[at + 1 :]))
    return code


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser for the arguments of a command."""
    module = importlib.import_module(f".{command}", __package__)
    what = COMMANDS[command]
    parser = argparse.ArgumentParser(prog=f"gristmill {command}", description=f"{what[0].upper()}{what[1:]}.")
    module.configure(parser)
    parser.add_argument("--debug", action="store_true", help=DEBUG)
    return parser


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<9} {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="gristmill",
        usage="gristmill [--version] [--debug] COMMAND ...",
        description=f"{DESCRIPTION}\n\ncommands:\n{listed}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", choices=list(COMMANDS), metavar="COMMAND", help="one of the commands above"
    )
    parser.add_argument("--version", action="version", version=f"gristmill {__version__}")
    parser.add_argument("--debug", action="store_true", help=DEBUG)
    return parser


if __name__ == "__main__":
    sys.exit(main())
