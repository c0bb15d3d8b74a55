"""``gristmill``: finds the command and imports only its module, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence

from ... import __version__
from ..errors import GristmillError
from ..guard import guarded
from ..printable import shown

#: command -> what it does. Kept here, so that the list of commands needs none of their modules.
COMMANDS = {
    "run": "run a pipeline file, or go on with a run that was stopped",
    "plan": "show what a run would do, reuse and cost, and why it differs from an earlier one",
    "preview": "try a pipeline on a few rows, and print what each step makes of them",
    "why": "tell what happened to a row, step by step",
    "explain": "trace trained weights back to batches, rows, prompts and seeds",
    "keep": "try another condition on scored rows, without scoring again",
    "report": "write the report of a run",
    "check": "read every byte of a run, and name what is damaged",
    "recipes": "list the packaged pipeline files",
    "schema": "write the JSON Schema of pipeline files, for editors",
    "train": "train a model on a file of rows, outside a pipeline",
    "merge": "put adapters, sparse deltas and fine-tuned models into one model",
    "quantize": "write a model's linear layers in 4 bits",
    "models": "list, fetch and remove models",
    "doctor": "show what this machine offers: cores, memory, GPUs, engines, sandbox",
}

#: An error that is ours, not the user's (BSD's EX_SOFTWARE).
INTERNAL = 70
INTERRUPTED = 130

DESCRIPTION = "Turn seeds into verified training data, the data into a better model, and loop."
EPILOG = "Start with: gristmill run quickstart. Help on a command: gristmill COMMAND --help"


class UnknownCommand(GristmillError):
    """The first word is no command."""

    exit_code = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    with guarded():
        return _run(list(sys.argv[1:] if arguments is None else arguments))


def _run(given: list[str]) -> int:
    try:
        code = _dispatch(given)
        # Met here, where it can still be answered quietly, not in the interpreter's own exit.
        sys.stdout.flush()
        return code
    except GristmillError as error:
        print(_where(given) or error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(_where(given), end="", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing is left to say, and no later flush may complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        said = " ".join(shown(str(error)).split())[:300]
        told = f"internal error: {type(error).__name__}: {said} (run with --debug for where)"
        print(_where(given) or told, file=sys.stderr)
        return INTERNAL


def _where(given: list[str]) -> str:
    """With ``--debug``, the traceback of the error that is being handled: printed here, since the interpreter would print
    it past the guard. Else nothing."""
    return traceback.format_exc() if "--debug" in given else ""


def _dispatch(given: list[str]) -> int:
    parser = _parser()
    command = next((word for word in given if not word.startswith("-")), None)
    if command not in COMMANDS:
        if command is None and not given:
            parser.print_help()
            return 0
        if command is not None:
            from ..spec.nearest import suggestion

            raise UnknownCommand(f"unknown command: {suggestion(command, COMMANDS)}")
        parser.parse_args(given)  # --help, --version, or a mistake: argparse says it and exits
        return 0
    at = given.index(command)
    parser.parse_args([*given[:at], command])
    module = importlib.import_module(f".{command}", __package__)
    what = COMMANDS[command]
    its = argparse.ArgumentParser(
        prog=f"gristmill {command}",
        description=f"{what[0].upper()}{what[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.configure(its)
    its.add_argument("--debug", action="store_true", help="show where an error comes from")
    code: int = module.main(its.parse_args(given[at + 1 :]))
    return code


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
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


if __name__ == "__main__":
    sys.exit(main())
