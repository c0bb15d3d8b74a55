"""Programs that try to escape from the sandbox. Each prints ESCAPED if it gets access that it must not have.

The test replaces ``@NAME@``: SECRET (a text in a file, in the environment and in the home folder), FILE and
HOME (paths of that text), PORT (a TCP server), SOCKET and ABSTRACT (local servers), PID (a process), FOLDER
(a folder that anyone may write).
"""

from __future__ import annotations

#: Attacks whose attempt must fail.
TRY = """
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def attempt(what, *arguments):
    try:
        got = what(*arguments)
    except (OSError, ImportError, ValueError) as error:
        print("held:", type(error).__name__)
        return None
    print("ESCAPED", got)
    return got
def call(what, *arguments):
    if getattr(libc, what)(*arguments) >= 0:
        print("ESCAPED", what)
"""


def tcp(family: str, address: str) -> str:
    return (
        f"s = attempt(socket.socket, socket.{family}, socket.SOCK_STREAM)\nif s: attempt(s.connect, "
        f"{address})"
    )


NETWORK = {
    "tcp to this machine": tcp("AF_INET", "('127.0.0.1', @PORT@)"),
    "tcp over ipv6": tcp("AF_INET6", "('::1', @PORT@)"),
    "cloud metadata": tcp("AF_INET", "('169.254.169.254', 80)"),
    "google metadata by name": "attempt(socket.create_connection, ('metadata.google.internal', 80), 0.3)",
    "udp": "attempt(socket.socket, socket.AF_INET, socket.SOCK_DGRAM)",
    "listen": "attempt(socket.create_server, ('0.0.0.0', 0))",
    "raw socket": "attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet socket": "attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)",
    "netlink": "attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)",
    "vsock": "attempt(socket.socket, socket.AF_VSOCK, socket.SOCK_STREAM)",
    "kernel crypto socket": "attempt(socket.socket, socket.AF_ALG, socket.SOCK_SEQPACKET)",
    "socketpair of another family": "attempt(socket.socketpair, socket.AF_INET)",
    "name lookup": "attempt(socket.getaddrinfo, 'example.com', 80)",
    "urllib": "import urllib.request; attempt(urllib.request.urlopen, 'http://127.0.0.1:@PORT@/', None, 0.5)",
    "the shell's /dev/tcp": (
        "import subprocess\n"
        "done = subprocess.run(['bash', '-c', 'echo x > /dev/tcp/127.0.0.1/@PORT@'], capture_output=True)\n"
        "if done.returncode == 0: print('ESCAPED')"
    ),
    "a local socket by its path": "s = socket.socket(socket.AF_UNIX)\nattempt(s.connect, '@SOCKET@')",
    "an abstract socket": "s = socket.socket(socket.AF_UNIX)\nattempt(s.connect, '\\0@ABSTRACT@')",
    "the docker socket": "s = socket.socket(socket.AF_UNIX)\nattempt(s.connect, '/var/run/docker.sock')",
}

FILES = {
    "which programs others run": "call('inotify_init'); call('inotify_init1', 0)",
    "a file of the user": "attempt(open, '@FILE@')",
    "the home folder": "attempt(os.listdir, '@HOME@')",
    "a secret in the home folder": "attempt(open, '@HOME@/.secret')",
    "the password hashes": "attempt(open, '/etc/shadow')",
    "host keys": "attempt(os.listdir, '/etc/ssh')",
    "a link to a secret": "os.symlink('@FILE@', 'link'); attempt(open, 'link')",
    "a hard link into the scratch": "attempt(os.link, '/usr/bin/env', 'env')",
    "up from the working folder": "attempt(open, '../../../../..@FILE@')",
    "the root of process 1": "attempt(os.listdir, '/proc/1/root'); attempt(open, '/proc/1/root@FILE@')",
    "the root of this process": "attempt(open, '/proc/self/root@FILE@')",
    "descriptors of process 1": "attempt(os.listdir, '/proc/1/fd')",
    "memory of process 1": "attempt(open, '/proc/1/mem', 'rb')",
    "environment of process 1": "attempt(open, '/proc/1/environ', 'rb')",
    "kernel memory": "attempt(open, '/proc/kcore', 'rb'); attempt(open, '/dev/mem', 'rb'); attempt(open, "
    "'/dev/kmem')",
    "sysctl": "attempt(open, '/proc/sys/kernel/core_pattern', 'w'); attempt(os.listdir, '/proc/sys')",
    "sysrq": "attempt(open, '/proc/sysrq-trigger', 'w')",
    "sysfs and control groups": "attempt(os.listdir, '/sys/fs/cgroup'); attempt(os.listdir, '/sys')",
    "run and var": "attempt(os.listdir, '/run'); attempt(os.listdir, '/var/log')",
    "write into /usr": "attempt(open, '/usr/bin/env', 'a'); attempt(open, '/usr/new', 'w')",
    "poison the standard library": "attempt(open, os.__file__, 'a'); attempt(os.unlink, os.__file__)",
    "write into /etc and the root": "attempt(open, '/etc/passwd', 'a'); attempt(open, '/new', 'w'); "
    "attempt(os.mkdir, '/home')",
    "write into /dev": "attempt(open, '/dev/new', 'w'); attempt(os.symlink, '/', '/dev/x')",
    "replace /dev/null": "attempt(os.unlink, '/dev/null'); attempt(os.rename, '/dev/null', '/dev/x')",
    "change the devices": (
        "for name in ('null', 'zero', 'full', 'random', 'urandom'):\n"
        "    path = '/dev/' + name\n"
        "    attempt(os.chmod, path, 0o600); attempt(os.chown, path, os.getuid(), os.getgid()); "
        "attempt(os.utime, path, (0, 0))\n"
        "    attempt(os.setxattr, path, 'user.x', b'x')"
    ),
    "write to a folder of everyone": "attempt(open, '@FOLDER@/escaped', 'w')",
    "make a device": "attempt(os.mknod, 'disk', 0o60666, os.makedev(254, 0)); attempt(os.mknod, 'mem', "
    "0o20666, os.makedev(1, 1))",
    "open by handle": "call('open_by_handle_at', -100, ctypes.create_string_buffer(128), 0)",
    "change the scratch's mount": "call('mount', None, b'/', None, 32, None); call('mount', None, b'/usr', "
    "None, 4128, None)",
    "uncover what is below /tmp": "call('umount2', b'/tmp', 2); call('umount2', b'/proc', 2)",
    "mount a tmpfs": "call('mount', b'tmpfs', b'/tmp', b'tmpfs', 0, None)",
    "chroot": "os.mkdir('x'); attempt(os.chroot, 'x')",
    "a set-user-id program": (
        "import subprocess, shutil\n"
        "done = subprocess.run(['su', '-c', 'id -u'], capture_output=True, text=True, "
        "stdin=subprocess.DEVNULL)\n"
        "if done.stdout.strip() == '0': print('ESCAPED')"
    ),
    "a set-user-id program of its own": (
        "import shutil, subprocess\n"
        "shutil.copy('/usr/bin/id', 'id'); os.chmod('id', 0o4755)\n"
        "before = os.geteuid()\n"
        "if int(subprocess.run(['./id', '-u'], capture_output=True).stdout) != before: print('ESCAPED')"
    ),
    "the environment": "if '@SECRET@' in str(os.environ): print('ESCAPED')",
    "the first environment": "if '@SECRET@' in open('/proc/self/environ').read(): print('ESCAPED')",
    "command lines of others": (
        "for pid in os.listdir('/proc'):\n"
        "    if pid.isdigit() and int(pid) != os.getpid(): print('ESCAPED', pid)"
    ),
}

PROCESSES = {
    "kill a process of the machine": "attempt(os.kill, @PID@, 9)",
    "kill everything": "try: os.kill(-1, 9)\nexcept OSError: pass",
    "kill the parent": "for pid in (os.getppid(), 1):\n    for number in (9, 15, 2):\n        try: "
    "os.kill(pid, number)\n        except OSError: pass",
    "stop the parent": "for number in (19, 20):\n    try: os.kill(1, number)\n    except OSError: pass",
    "signal process groups": "attempt(os.killpg, @PID@, 9); os.killpg(0, 0)",
    "trace process 1": "call('ptrace', 16, 1, 0, 0); call('ptrace', 0x4206, 1, 0, 0)",
    "read the memory of process 1": "call('process_vm_readv', 1, None, 0, None, 0, 0)",
    "limits of process 1": "import resource; attempt(resource.prlimit, 1, resource.RLIMIT_CPU, (0, 0))",
    "raise its own limits": "import resource; attempt(resource.setrlimit, resource.RLIMIT_AS, (-1, -1))",
    "become root": "attempt(os.setgroups, [0]) if os.getuid() else print()\nif os.getuid(): "
    "attempt(os.setuid, 0)",
    "take capabilities back": (
        "import struct\n"
        "header, data = struct.pack('=Ii', 0x20080522, 0), struct.pack('=IIIIII', *[2**32 - 1] * 6)\n"
        "if libc.capset(header, data) == 0: print('ESCAPED')"
    ),
    "capabilities by a program": (
        "import subprocess\n"
        "out = subprocess.run(['cat', '/proc/self/status'], capture_output=True, text=True).stdout\n"
        "if any(int(line.split()[1], 16) for line in out.splitlines() if line.startswith(('CapEff', "
        "'CapPrm', 'CapBnd'))):\n"
        "    print('ESCAPED', out)"
    ),
    "a new user namespace": "call('unshare', 0x10000000); call('unshare', 0x20000); call('unshare', "
    "0x40000000)",
    "a child in a new user namespace": (
        "for number in (56, 435):\n"
        "    if libc.syscall(number, ctypes.c_long(0x10000011), 0, 0, 0, 0) >= 0: print('ESCAPED'); break"
    ),
    "another's namespaces": "call('setns', os.open('/proc/self/ns/user', 0), 0)",
    "without the filter": "call('prctl', 22, 0, 0, 0, 0); call('prctl', 38, 0, 0, 0, 0)",
    "real time priority": "attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)); "
    "attempt(os.nice, -5)",
    "set the clock": "import time; attempt(time.clock_settime, 0, 0.0)",
    "reboot": "call('reboot', 0)",
    "host name": "attempt(socket.sethostname, 'mine')",
    "type into a terminal": "import fcntl, pty; a, b = pty.openpty() if os.path.exists('/dev/ptmx') else "
    "(0, 0)\nattempt(fcntl.ioctl, b, 0x5412, b'x')",
    "shared memory that outlives it": "call('shmget', 1, 1 << 20, 0o1666); call('msgget', 1, 0o1666); "
    "call('semget', 1, 1, 0o1666)",
}

#: (program, allowed statuses). These programs must be ended before they finish.
RESOURCES = {
    "fork bomb": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        {"timeout", "killed"},
    ),
    "fork bomb by a shell": (
        "import os; os.execvp('bash', ['bash', '-c', 'f() { f | f & }; f; while :; do :; done'])",
        {"timeout", "killed"},
    ),
    "thread bomb": (
        "import threading, time\n"
        "for _ in range(1000): threading.Thread(target=time.sleep, args=(60,)).start()",
        {"failed", "timeout", "killed", "memory"},
    ),
    "list that grows": ("x = []\nwhile True: x.append(bytes(10**6))", {"memory"}),
    "one large object": ("x = bytearray(10**10)", {"memory"}),
    "large mapping": ("import mmap\nm = mmap.mmap(-1, 10**9)", {"failed"}),
    "memory in children": (
        "import os, time\n"
        "for _ in range(6):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(60 << 20); time.sleep(60)\n"
        "time.sleep(60)",
        {"memory"},
    ),
    "memory that no limit counts": (
        "import os\nfor i in range(1000): os.memfd_create(f'x{i}')",
        {"failed"},
    ),
    "huge file": ("f = open('big', 'wb')\nwhile True: f.write(bytes(10**6))", {"failed"}),
    "sparse file": ("f = open('big', 'wb'); f.truncate(10**12)", {"failed"}),
    "many files to fill the scratch": (
        "i = 0\nwhile True:\n    i += 1\n    open(f'f{i}', 'wb').write(bytes(10**6))",
        {"failed"},
    ),
    "many empty files": ("for i in range(100_000): open(f'f{i}', 'w').close()", {"failed"}),
    "many descriptors": ("f = [open('/dev/null') for _ in range(10_000)]", {"failed"}),
    "endless output": ("while True: print('x' * 1000)", {"killed"}),
    "endless error output": ("import sys\nwhile True: sys.stderr.write('x' * 1000)", {"killed"}),
    "endless output of a child": ("import os; os.execvp('yes', ['yes'])", {"killed"}),
    "output in one piece": ("print('x' * 10**7)", {"killed"}),
    "deep recursion": ("def f(n): return f(n + 1)\nf(0)", {"failed"}),
    "deep recursion in C": (
        "import sys, threading\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)",
        {"killed", "memory", "timeout"},
    ),
    "nested literal": ("eval('(' * 100_000 + ')' * 100_000)", {"memory", "failed", "killed"}),
    "decompression bomb": (
        "import zlib\nd = zlib.compress(bytes(10**8))\nx = [zlib.decompress(d) for _ in range(99)]",
        {"memory", "timeout"},
    ),
    "endless loop": ("while True: pass", {"timeout"}),
    "sleep": ("import time\ntime.sleep(1000)", {"timeout"}),
    "loop that catches everything": (
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
        {"timeout"},
    ),
    "loop in C": ("x = 7 ** (7 ** 9)", {"timeout"}),
    "slow regular expression": ("import re\nre.match('(a+)+$', 'a' * 60 + 'b')", {"timeout"}),
    "ignored signals": (
        "import signal\n"
        "for s in range(1, 65):\n"
        "    try: signal.signal(s, signal.SIG_IGN)\n"
        "    except (OSError, ValueError): pass\n"
        "while True: pass",
        {"timeout"},
    ),
    "blocked signals": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass",
        {"timeout"},
    ),
    "stopped": ("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", {"timeout"}),
    "processor time in children": (
        "import os\n"
        "while True:\n"
        "    try:\n"
        "        if os.fork() == 0:\n"
        "            while True: pass\n"
        "    except OSError: pass",
        {"timeout", "killed"},
    ),
    "waiting for input": (
        "import time, sys\nsys.stdin.read(); open('/dev/zero').read()",
        {"memory", "timeout"},
    ),
    "crash": ("import ctypes\nctypes.string_at(0)", {"killed"}),
    "abort": ("import os\nos.abort()", {"killed"}),
}

#: Attacks on the next run, or on the verdict of their own run. Their tests must not pass.
STATE = {
    "patched builtins": "import builtins\nbuiltins.len = lambda x: 7\nbuiltins.print = None",
    "patched modules": "import os, sys, json\nos.getcwd = None\njson.dumps = lambda *a, **k: "
    "'{}'\nsys.modules['math'] = None",
    "environment": "import os\nos.environ['MARK'] = '1'\nos.putenv('MARK', '1')",
    "files": "open('left', 'w').write('x')\nimport os\nos.mkdir('/dev/shm/left')\nos.chmod('/tmp', 0)",
    "working folder and mask": "import os\nos.chdir('/')\nos.umask(0)",
    "recursion limit": "import sys\nsys.setrecursionlimit(50)",
    "signal handlers": "import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nsignal.alarm(1)",
    "threads": "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "a daemon": (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        while True: time.sleep(1)\n"
        "    os._exit(0)"
    ),
    "exit handlers": "import atexit\natexit.register(print, 'ESCAPED')",
    "import hooks": "import sys\nsys.meta_path.clear()\nsys.path.clear()\nsys.path_hooks.clear()",
    "garbage collection and tracing": "import gc, sys\ngc.disable()\nsys.settrace(lambda *a: "
    "None)\nsys.setswitchinterval(100)",
    "raw memory": "import ctypes, random\nctypes.memset(id(random), 255, 8)",
    "closed descriptors": "import os\nos.closerange(0, 100)",
    "noise in every descriptor": (
        'import os\nfor n in range(3, 120):\n    try: os.write(n, b\'{"status": "passed"}\' * 100)\n '
        "   except OSError: pass"
    ),
    "nice": "import os\nos.nice(19)",
    "random state": "import random\nrandom.seed(1)\nrandom.random = lambda: 0.5",
    "linecache": "import linecache\nlinecache.cache.clear()\nlinecache.getlines = None",
}

#: Programs that end early so that the tests cannot fail.
FAKES = {
    "os._exit": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "exit in the function": "import os\ndef f(x): os._exit(0)",
    "SystemExit in the function": "def f(x): raise SystemExit(0)",
    "the child comes home": "import os\ndef f(x):\n    if os.fork() == 0: return 2\n    os.wait(); "
    "os._exit(0)",
    "a fake report": (
        "import os, json\n"
        "os.write(3, json.dumps({'status': 'passed', 'message': '', 'tests': [], 'token': "
        "''}).encode())\nos._exit(0)"
    ),
    "replaced by another program": "import os\nos.execvp('true', ['true'])",
    "killed by itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "kills process 1": "import os\nos.kill(-1, 9)\nos.kill(os.getpid(), 9)",
    "an equal to all": "class A:\n    def __eq__(self, other): raise AssertionError('no')\ndef f(x): return "
    "A()",
    "hostile text": "class E(Exception):\n    def __str__(self): raise SystemExit(0)\ndef f(x): raise E",
}
