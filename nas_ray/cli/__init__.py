"""The command line: ``nas-ray COMMAND``; each command calls one public function, errors become exit codes.

0 done, 1 failed, 2 bad input or usage, 3 infeasible, 130 interrupted (resumable).
"""

from nas_ray.cli._main import cli, main

__all__ = ["cli", "main"]
