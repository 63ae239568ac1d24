# An interrupt key goes to the whole foreground group: the child answers it, once, and divulge stays to report.
import os, pty, re, select, sys, time

CHILD = r'''
import os, signal, sys, time
count = [0]
def interrupted(*_):
    count[0] += 1
signal.signal(signal.SIGINT, interrupted)
print("ready", flush=True)
while not count[0]:
    time.sleep(0.02)
time.sleep(0.3)
print("interrupted", count[0], "times", flush=True)
sys.exit(6)
'''

pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], [sys.argv[1], "run", "--", "python3", "-c", CHILD])
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

until(rb"ready")
os.write(fd, b"\x03")
until(rb"interrupted 1 times")
while True:
    try:
        if not os.read(fd, 4096):
            break
    except OSError:
        break
_, status = os.waitpid(pid, 0)
if not os.WIFEXITED(status) or os.WEXITSTATUS(status) != 6:
    sys.exit("ended with status %r; seen: %r" % (status, seen))
print("fine")
