"""What a function gives in a process of its own."""

import os


def in_child(work):
    """What the function gives in a forked process: True, False, or an error."""
    child = os.fork()
    if not child:
        os._exit({True: 0, False: 1}.get(work(), 2))
    return {0: True, 1: False}[os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]
