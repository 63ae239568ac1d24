# Runs `divulge run` on a terminal of our own, and looks from inside and outside whether it is one.
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

CHILD = r'''
import fcntl, os, signal, struct, sys, termios, time, tty

def size():
    return struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, b"\0" * 8))[:2]

sizes = []
signal.signal(signal.SIGWINCH, lambda *_: sizes.append(size()))
print("tty", [os.isatty(fd) for fd in (0, 1, 2)], flush=True)
print("front", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
print("size", size(), flush=True)
before = termios.tcgetattr(0)
tty.setraw(0)
sys.stdout.write("raw\r\n")
sys.stdout.flush()
# In raw mode an interrupt is a byte like another.
keys = b""
while len(keys) < 3:
    keys += os.read(0, 3)
sys.stdout.write("keys %r\r\n" % keys)
sys.stdout.flush()
while not sizes:
    time.sleep(0.02)
termios.tcsetattr(0, termios.TCSADRAIN, before)
print("resized", sizes[-1], flush=True)
sys.exit(5)
'''

def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "run", "--", "python3", "-c", CHILD])
set_size(fd, 31, 97)
seen = b""

def until(text):
    global seen
    end = time.time() + 15
    while not re.search(text, seen):
        left = end - time.time()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            sys.exit("waited for %r in vain; seen: %r" % (text, seen))
        try:
            data = os.read(fd, 4096)
        except OSError:
            data = b""
        if not data:
            sys.exit("the terminal closed before %r; seen: %r" % (text, seen))
        seen += data

until(rb"tty \[True, True, True\]")
until(rb"front True")
until(rb"size \(31, 97\)")
until(rb"raw\r\n")
os.write(fd, b"\x03q\x1a")
until(rb"keys b'\\x03q\\x1a'")
set_size(fd, 40, 120)
until(rb"resized \(40, 120\)")
while True:
    try:
        data = os.read(fd, 4096)
    except OSError:
        break
    if not data:
        break
    seen += data
_, status = os.waitpid(pid, 0)
if not os.WIFEXITED(status) or os.WEXITSTATUS(status) != 5:
    sys.exit("ended with status %r; seen: %r" % (status, seen))
print("fine")
