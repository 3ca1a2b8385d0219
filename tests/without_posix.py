"""A `sitecustomize` that takes away from modelflow, and from it alone, the names that Windows' Python does not have.

The libraries keep them: they have guards of their own, which are not ours to try.
"""

SIGNALS = ("SIGALRM", "setitimer", "ITIMER_REAL", "pthread_sigmask", "SIG_BLOCK", "SIG_SETMASK", "SIGKILL", "SIGHUP")
OS = (
    "O_CLOEXEC",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "O_DIRECTORY",
    "getppid",
    "sched_getaffinity",
    "fork",
    "register_at_fork",
    "getuid",
    "geteuid",
)

SITECUSTOMIZE = f"""
import builtins, errno, os, signal, types

class Without(types.ModuleType):
    def __init__(self, module, names, **others):
        super().__init__(module.__name__)
        self._module, self._names = module, names
        vars(self).update(others)

    def __getattr__(self, name):
        if name in self._names:
            raise AttributeError(name)
        return getattr(self._module, name)

def no_folders(path, *rest, **named):
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return os.open(path, *rest, **named)

WITHOUT = {{
    "os": Without(os, {OS!r}, name="nt", open=no_folders),
    "signal": Without(signal, {SIGNALS!r}),
}}
complete = builtins.__import__

def imported(name, globals=None, locals=None, fromlist=(), level=0):
    module = complete(name, globals, locals, fromlist, level)
    ours = (globals or {{}}).get("__name__", "").startswith("modelflow")
    return WITHOUT.get(name, module) if ours else module

builtins.__import__ = imported
"""
