"""How far a map has come: a bar on a terminal, a line now and then in a log, a widget in a notebook.

    pool.map(f, items, progress=True)           # or a label, or a function of (done, total)
    for item in ergon.progress.track(items, "reading"): ...

`make` is what maps use; `track` does the same for an ordinary loop.
"""

import os
import sys
import threading
import time
import weakref
from collections import deque

__all__ = ["make", "track"]

REDRAW = 0.1  # seconds between two states of the bar
WINDOW = 10.0  # the rate is that of the last seconds
LINE_EVERY = 10.0  # seconds between lines in a log, or
LINE_SHARE = 0.05  # this much more done, but not more often than
LINE_LEAST = 2.0


def make(progress, total=None, label=None):
    """The display that the value of ``progress=`` asks for; it has ``update(done)`` and ``close(ok)``.

    ``progress`` is True, a label, a function called as ``progress(done, total)``, or false for none. ``total`` is
    None when nobody knows it. ``update`` may be called as often as one likes, from one thread at a time.
    """
    if not progress:
        return _Display(total)
    if callable(progress):
        return _Calls(progress, total)
    if isinstance(progress, str):
        label = progress
    elif progress is not True:
        raise TypeError(f"progress is True, a label or a function of (done, total), not {progress!r}")
    if _in_notebook():
        widget = _Widget.make(total, label)
        if widget is not None:
            return widget
    stream = sys.stderr
    if stream is None:
        return _Display(total)
    if _is_terminal(stream) and not isinstance(stream, _Above):
        return _Bar(stream, total, label)
    return _Lines(stream, total, label)  # also while another map's bar is shown: the lines go above it


def track(iterable, progress=True, total=None):
    """Yield the items of ``iterable`` and show how many have been taken."""
    if total is None:
        try:
            total = len(iterable)
        except TypeError:
            pass
    display = make(progress, total)
    ok = False
    try:
        for done, item in enumerate(iterable, 1):
            yield item
            display.update(done)
        ok = True
    finally:
        display.close(ok)


class _Display:
    """Shows nothing; what the others have in common."""

    def __init__(self, total, label=None):
        self.total, self.label, self.done = total, label, 0
        self.began = self.shown = time.monotonic()
        self.closed = False
        self._past = deque([(self.began, 0)])

    def update(self, done):
        self.done = done

    def close(self, ok=True):
        self.closed = True

    def rate(self, now):
        """Items a second of late."""
        past = self._past
        past.append((now, self.done))
        while len(past) > 2 and past[0][0] < now - WINDOW:
            past.popleft()
        (then, before), (_, done) = past[0], past[-1]
        return (done - before) / (now - then) if now > then else 0.0

    def left(self, rate):
        """Seconds until the end, or None."""
        if self.total is None or rate <= 0:
            return None
        return max(0, self.total - self.done) / rate


class _Calls(_Display):
    def __init__(self, function, total):
        super().__init__(total)
        self._function = function

    def update(self, done):
        if done != self.done:
            self.done = done
            self._function(done, self.total)


class _Lines(_Display):
    """For files and pipes: whole lines, few of them."""

    def __init__(self, stream, total, label):
        super().__init__(total, label)
        self._stream, self._share = stream, 0.0

    def update(self, done):
        self.done = done
        now = time.monotonic()
        since = now - self.shown
        if since < LINE_LEAST:
            return
        share = done / self.total if self.total else 0.0
        if since >= LINE_EVERY or share - self._share >= LINE_SHARE - 1e-9:
            self.shown, self._share = now, share
            rate = self.rate(now)
            self._say(_state(self, rate, self.left(rate)))

    def close(self, ok=True):
        if not self.closed:
            self.closed = True
            spent = time.monotonic() - self.began
            self._say(_summary(self, spent) if ok else f"{_count(self)}, stopped after {_duration(spent)}")

    def _say(self, text):
        label = f"{self.label}: " if self.label else ""
        try:
            self._stream.write(f"{label}{text}\n")
            self._stream.flush()
        except (OSError, ValueError):  # whoever read the log is gone: not a reason to stop the work
            self.closed = True


class _Bar(_Display):
    """One line at the foot of a terminal.

    What the program writes to the terminal meanwhile goes above it: while the bar is there, sys.stdout and
    sys.stderr are wrapped so that the bar is taken away before each text and drawn again after a full line.
    """

    def __init__(self, stream, total, label):
        super().__init__(total, label)
        self._stream, self._drawn, self._fresh_line = stream, False, True
        self._lock = threading.RLock()
        self._wrapped = []
        for name in ("stdout", "stderr"):
            original = getattr(sys, name)
            if original is stream or (original is not None and _is_terminal(original)):
                wrapper = _Above(original, self)
                setattr(sys, name, wrapper)
                self._wrapped.append((name, original, wrapper))
        self.shown = 0.0
        try:
            self.update(0)
        except BaseException:
            self.close(False)
            raise

    def update(self, done):
        self.done = done
        now = time.monotonic()
        if now - self.shown >= REDRAW and not self.closed:
            self.shown = now
            with self._lock:
                self._draw()

    def close(self, ok=True):
        with self._lock:
            if self.closed:
                return
            self.closed = True
            for name, original, wrapper in self._wrapped:
                if getattr(sys, name) is wrapper:
                    setattr(sys, name, original)
            self._wrapped.clear()
            self._erase()
            if ok and self._fresh_line:
                label = f"{self.label}  " if self.label else ""
                self._put(f"{label}{_summary(self, time.monotonic() - self.began)}\n")

    def __del__(self):  # a map that was forgotten half-way must not leave the wrappers behind
        if not getattr(self, "closed", True):
            self.close(False)

    def write_above(self, original, text):
        """Called by the wrappers, on whatever thread writes."""
        with self._lock:
            self._erase()
            written = original.write(text)
            if text:
                self._fresh_line = text.endswith("\n")
            original.flush()
            if not self.closed:
                self._draw()
            return written

    def _draw(self):
        if not self._fresh_line:  # somebody is in the middle of a line, which the bar must not overwrite
            return
        rate = self.rate(time.monotonic())
        try:
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            width = 80
        self._drawn = True  # before it is: Ctrl-C may come between
        self._put(f"\r{_line(self, rate, width - 1, _unicode(self._stream))}\x1b[K")

    def _erase(self):
        if self._drawn:
            self._drawn = False
            self._put("\r\x1b[K")

    def _put(self, text):
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self.closed = True


class _Above:
    """Stands for sys.stdout or sys.stderr while a bar is shown; everything but writing is the original's.

    It does not keep the bar alive, so that one which nobody holds any more is closed.
    """

    def __init__(self, original, bar):
        self._original, self._bar = original, weakref.ref(bar)

    def write(self, text):
        bar = self._bar()
        return self._original.write(text) if bar is None or bar.closed else bar.write_above(self._original, text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def __getattr__(self, name):
        return getattr(self._original, name)

    def __iter__(self):
        return iter(self._original)


class _Widget(_Display):
    @classmethod
    def make(cls, total, label):
        try:
            import ipywidgets  # noqa: F401
            from tqdm.notebook import tqdm
        except ImportError:
            return None
        self = cls(total, label)
        self._bar = tqdm(total=total, desc=label)
        return self

    def update(self, done):
        self._bar.update(done - self.done)
        self.done = done

    def close(self, ok=True):
        if not self.closed:
            self.closed = True
            self._bar.close()


def _in_notebook():
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _is_terminal(stream):
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


def _unicode(stream):
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


# --- words --------------------------------------------------------------------------------------------------


def _duration(seconds):
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}:{seconds:02}"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _rate(rate):
    if rate <= 0:
        return ""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s" if rate >= 0.1 else f"{rate * 60:.1f}/min"


def _count(display):
    return f"{display.done:,} of {display.total:,}" if display.total is not None else f"{display.done:,}"


def _share(display):
    return min(1.0, display.done / display.total) if display.total else 1.0


def _state(display, rate, left):
    parts = [_count(display)]
    if display.total is not None:
        parts = [f"{_share(display):.0%}, {_count(display)}"]
    if rate > 0:
        parts.append(_rate(rate))
    if left is not None:
        parts.append(f"{_duration(left)} left")
    return ", ".join(parts)


def _summary(display, spent):
    rate = _rate(display.done / spent) if spent > 0 else ""
    return f"{display.done:,} in {_duration(spent)}" + (f", {rate}" if rate else "")


def _line(display, rate, width, unicode):
    """The bar as text of at most `width` columns."""
    left = display.left(rate)
    label = f"{display.label}  " if display.label else ""
    facts = [_count(display).replace(" of ", "/")]
    if rate > 0:
        facts.append(_rate(rate))
    if left is not None:
        facts.append(f"{_duration(left)} left")
    elif display.total is None:
        facts.append(_duration(time.monotonic() - display.began))
    text = "  ".join(facts)
    if display.total is None:
        return (label + text)[:width]
    percent = f"{int(_share(display) * 100):3d} %"
    room = min(40, width - len(label) - len(percent) - len(text) - 4)
    if room < 6:
        return (label + percent + "  " + text)[:width]
    return f"{label}{_blocks(_share(display), room, unicode)}  {percent}  {text}"


def _blocks(share, room, unicode):
    full = share * room
    whole = int(full)
    if not unicode:
        return "[" + ("#" * whole)[: room - 2].ljust(room - 2, ".") + "]"
    filled, rest = "━" * whole, room - whole
    if rest and full - whole >= 0.5:
        filled, rest = filled + "╸", rest - 1
    empty = "─" * rest
    if os.environ.get("NO_COLOR"):
        return filled + empty
    return f"\x1b[36m{filled}\x1b[0m\x1b[2m{empty}\x1b[0m"
