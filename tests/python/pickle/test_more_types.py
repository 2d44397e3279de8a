"""Threads, futures, log files, files to append to, weak proxies: what belongs to a process only once it runs."""

import concurrent.futures
import csv
import ctypes
import io
import logging
import logging.handlers
import os
import struct
import subprocess
import sys
import textwrap
import threading
import weakref

import ergon
import ergon.pickle as ep
import pytest


class Plain:
    value = 3


class Callable:
    def __call__(self):
        return "called"


class Child:
    def __init__(self, parent):
        self.parent = weakref.proxy(parent)


def test_proxies_of_what_came_before_are_proxies():
    for target in (Plain(), Callable(), Plain):
        back, proxy, again = ep.copy([target, proxy := weakref.proxy(target), proxy])
        assert type(proxy) is type(weakref.proxy(target)) and proxy is again
        assert any(one is proxy for one in weakref.getweakrefs(back))
    parent = Plain()
    parent.child = Child(parent)
    back = ep.copy(parent)
    assert type(back.child.parent) is weakref.ProxyType and any(
        one is back.child.parent for one in weakref.getweakrefs(back)
    )


def test_proxies_of_what_would_have_no_owner_are_the_object():
    parent = Plain()
    parent.child = Child(parent)
    back = ep.copy(parent.child)  # its parent comes along, and somebody has to keep it
    assert type(back.parent) is Plain and back.parent.child is back
    proxy, target = ep.copy([weakref.proxy(parent), parent])
    assert proxy is target
    assert type(ep.copy(weakref.proxy(parent))) is Plain


@pytest.mark.parametrize("kind", [Plain, Callable])
def test_dead_proxies_stay_dead(kind):
    dead = weakref.proxy(kind())
    for back in (ep.copy([dead])[0], ep.copy(dead)):
        assert type(back) is type(dead)
        with pytest.raises(ReferenceError):
            back.value  # noqa: B018


class Counting(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.number = number
        self.results = []

    def run(self):
        self.results.append(self.number + 1)


def test_threads_that_have_not_started():
    results, lock = [], threading.Lock()
    plain = threading.Thread(target=lambda x, y: results.append(x + y), args=(1,), kwargs={"y": 2}, name="adder")
    own = Counting(5)
    timer = threading.Timer(0.001, lock.locked)
    back, own_back, timer_back = ep.copy([plain, own, timer])
    assert (back.name, back.daemon, own_back.daemon, own_back.name) == ("adder", False, True, own.name)
    function = back._target
    for thread in (back, own_back, timer_back):
        assert not thread.is_alive()
        thread.start()
        thread.join()
    assert own_back.results == [6] and own.results == []
    assert results == [] and next(cell.cell_contents for cell in function.__closure__) == [3]
    assert timer_back.interval == 0.001 and timer_back.finished.is_set() and not timer.finished.is_set()
    for thread in (threading.current_thread(), own_back):
        with pytest.raises(ep.PicklingError, match=r"obj\[0\]: a thread that was started runs in this process"):
            ep.dumps([thread])


def test_futures_that_are_done():
    value, failed, cancelled = (concurrent.futures.Future() for _ in range(3))
    calls = []
    value.add_done_callback(calls.append)
    value.note = "an attribute"
    value.set_result(shared := [1])
    failed.set_exception(ValueError("no"))
    cancelled.cancel()
    back, failed_back, cancelled_back, same = ep.copy([value, failed, cancelled, shared])
    assert type(back) is concurrent.futures.Future and back.done() and back.result(0) is same and same == [1]
    assert back.note == "an attribute"
    assert isinstance(failed_back.exception(0), ValueError) and failed_back.exception().args == ("no",)
    assert cancelled_back.cancelled() and calls == [value]
    back.add_done_callback(calls.append)  # it works as any other
    assert calls == [value, back]
    with pytest.raises(ep.PicklingError, match="obj: a future is fulfilled in this process: wait for it"):
        ep.dumps(concurrent.futures.Future())


class Decides(threading.Thread):
    def __reduce__(self):
        return Decides, ()


class DecidesState(concurrent.futures.Future):
    def __getstate__(self):
        return {"state": 1}


def test_subclasses_that_say_themselves_how_they_are_pickled():
    started = Decides()
    started.start()
    started.join()
    assert type(ep.copy(started)) is Decides and ep.copy(started).ident is None
    assert vars(ep.copy(DecidesState())) == {"state": 1}


def _log(handler, text):
    handler.emit(logging.LogRecord("name", logging.INFO, "path", 1, text, None, None))


@pytest.mark.parametrize("mode", ["a", "w"])
def test_log_files(tmp_path, mode):
    place = tmp_path / "program.log"
    handler = logging.FileHandler(place, mode)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    _log(handler, "one")
    back = ep.copy({"handler": handler})["handler"]
    assert back.stream is None and back.formatter._fmt == handler.formatter._fmt
    _log(back, "two")
    _log(handler, "three")
    back.close(), handler.close()
    lines = place.read_text().splitlines()
    if mode == "a":
        assert lines == ["INFO one", "INFO two", "INFO three"]
    else:  # what is written here overwrites: it has a position of its own
        assert lines[0] == "INFO one"


def test_log_files_that_turn(tmp_path):
    handler = logging.handlers.RotatingFileHandler(tmp_path / "log", maxBytes=20, backupCount=1)
    back = ep.copy(handler)
    handler.close()
    for text in ("0123456789", "abcdefghij", "next"):
        _log(back, text)
    back.close()
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"] and (tmp_path / "log.1").read_text() == "0123456789\n"


def test_log_files_in_tasks(tmp_path):
    handler = logging.FileHandler(tmp_path / "log")
    _log(handler, "here")

    def work(number, handler=handler):
        _log(handler, f"there {number}")
        handler.close()
        return number

    with ergon.ProcessPool(2) as pool:
        assert pool.map(work, range(4)) == [0, 1, 2, 3]
    handler.close()
    assert sorted((tmp_path / "log").read_text().splitlines()) == ["here", *(f"there {n}" for n in range(4))]


@pytest.mark.parametrize("how", ["a", "ab", "unbuffered"])
def test_files_to_append_to(tmp_path, how):
    place = tmp_path / "file"
    with open(place, "ab", buffering=0) if how == "unbuffered" else open(place, how) as file:
        binary = "b" in file.mode
        one, two, three = (b"1", b"2", b"3") if binary else ("1", "2", "3")
        file.write(one)
        with ep.copy(file) as back:
            assert type(back) is type(file) and back.mode == file.mode and back.name == file.name
            back.write(two)
        file.write(three)
        file.flush()
        assert place.read_bytes() == b"123"
        written = ep.dumps(file)
    with pytest.raises(ep.PicklingError, match="closed files"):
        ep.dumps(file)
    place.unlink()
    with ep.loads(written) as back:
        back.write(one)
    assert place.read_bytes() == b"1"


# What another process finds in the file, and can do with it, by how it was opened and how it is sent.
MODES = ["r", "r+", "w", "w+", "a", "a+", "rb", "r+b", "wb", "w+b", "ab", "a+b"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["reopen", "restore"])
def test_files_by_name(tmp_path, mode, way):
    place = tmp_path / "file"
    place.write_bytes(b"0123456789")
    with open(place, mode) as file:
        convert = str.encode if "b" in mode else str
        if "w" in mode:
            file.write(convert("abcdef"))
        if "a" in mode:
            file.write(convert("+"))
        if "a" not in mode:
            file.seek(4)
        content = {"w": b"abcdef", "a": b"0123456789+"}.get(mode[0], b"0123456789")
        data = ep.dumps(file, files=way)
        readable, writable = file.readable(), file.writable()
    if way == "restore":
        place.unlink()
    with ep.loads(data) as back:
        assert place.read_bytes() == content  # nothing was truncated
        assert type(back) is type(file) or "w" in mode
        assert back.name == file.name and back.writable() == writable
        if "a" not in mode:
            assert back.tell() == 4
        if readable:
            assert back.readable()
        if writable:
            back.write(convert("!"))
    if writable:
        expected = content + b"!" if "a" in mode else content[:4] + b"!" + content[5:]
        assert place.read_bytes() == expected


def test_small_things():
    assert ep.copy(struct.Struct("<ih")).pack(1, 2) == struct.pack("<ih", 1, 2)

    class Semicolons(csv.excel):
        delimiter = ";"

    dialect = ep.copy(csv.writer(io.StringIO(), Semicolons).dialect)
    assert list(csv.reader(["1;2"], dialect)) == [["1", "2"]]


def test_detect_has_a_trace_too():
    lines = io.StringIO()
    assert ep.detect.trace([Plain(), 1], lines) == ep.trace([Plain(), 1], io.StringIO()) > 10
    assert "Plain object" in lines.getvalue()


# Run as the main module: what is defined here travels by value.
STRUCTURES = """
    import ctypes, sys
    import ergon, ergon.pickle as ep

    class Point(ctypes.Structure):
        "A point."
        _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]
        def total(self): return self.x + self.y

    class Packed(ctypes.Structure):
        class Inner(ctypes.Union):
            _fields_ = [("number", ctypes.c_uint32), ("bytes", ctypes.c_uint8 * 4)]
        _pack_ = 1
        _anonymous_ = ["inner"]
        _fields_ = [("flag", ctypes.c_uint8), ("inner", Inner), ("bits", ctypes.c_uint16, 3), ("points", Point * 2)]

    class Node(ctypes.Structure):
        pass
    Node._fields_ = [("value", ctypes.c_int), ("next", ctypes.POINTER(Node))]

    class Wide(Point):
        _fields_ = [("z", ctypes.c_int)]
        def total(self): return super().total() + self.z

    class Big(ctypes.BigEndianStructure):
        _fields_ = [("n", ctypes.c_uint16)]

    class Meters(ctypes.c_double):
        def feet(self): return self.value / 0.3048

    class Triple(ctypes.Array):
        _type_, _length_ = ctypes.c_int, 3

    Function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Point), use_errno=True)
    packed = Packed(1, bits=5, points=(Point(1, 2.5), Point(3, 4.5)))
    packed.number = 0x01020304

    def check(Point, Packed, Node, Wide, Big, Meters, Triple, Function, packed, wide, meters, triple, big, array):
        assert Point(1, 2).total() == 3 and Point.__doc__ == "A point." and ctypes.sizeof(Point) == 16
        assert Packed.Inner is type(packed.inner) and ctypes.sizeof(Packed) == 1 + 4 + 2 + 32
        assert (packed.flag, list(packed.bytes), packed.bits, packed.points[1].total()) == (1, [4, 3, 2, 1], 5, 7.5)
        assert type(packed.points[0]) is Point and Wide.__bases__ == (Point,) and wide.total() == 6
        node = Node(1)
        node.next = ctypes.pointer(Node(2))
        assert node.next.contents.value == 2 and Node._fields_[1][1] is ctypes.POINTER(Node)
        assert bytes(Big(1)) == bytes(big) == b"\\0\\1" and round(meters.feet()) == 10 and list(triple) == [1, 2, 3]
        assert Function._argtypes_ == (ctypes.POINTER(Point),) and Function(lambda p: p.contents.x)(Point(7)) == 7
        assert type(array) is ctypes.c_int * 3 and list(array) == [4, 5, 6]

    things = (Point, Packed, Node, Wide, Big, Meters, Triple, Function, packed, Wide(1, 2, 3), Meters(3.048), Triple(1, 2, 3), Big(1),
              (ctypes.c_int * 3)(4, 5, 6))
    check(*things)
    if __name__ == "__main__":
        back = ep.copy(things)
        check(*back)
        assert back[:8] == things[:8] and type(back[8]) is Packed  # they came home
        ep.dump((things, check), open(sys.argv[1], "wb"))
        with ergon.ProcessPool(1) as pool:
            assert [type(one) for one in pool.map(lambda thing: check(*things) or thing, things)] == list(map(type, things))
        try:
            ep.dumps(ctypes.pointer(Point(1, 2)))
        except ValueError as error:
            assert "pointers" in str(error)
        else:
            raise AssertionError
"""


def test_structures_of_ctypes(tmp_path):
    program, data = tmp_path / "program.py", tmp_path / "data"
    program.write_text(textwrap.dedent(STRUCTURES))
    for command in (
        [str(program), str(data)],
        ["-c", f"import ergon.pickle as ep; things, check = ep.load(open({str(data)!r}, 'rb')); check(*things)"],
    ):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr


def test_types_that_ctypes_makes():
    for made in (
        ctypes.c_int * 3,
        ctypes.POINTER(ctypes.c_char * 2),
        ctypes.CFUNCTYPE(None, ctypes.c_int),
        type(ctypes.Structure),
        ctypes.c_int16.__ctype_be__,
    ):
        assert ep.copy(made) is made


def test_structures_that_are_called_the_same(tmp_path):
    text = """
import ctypes, sys
import ergon.pickle as ep
class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.KIND)]
ep.dump(Point(3), open(sys.argv[1], "wb"))
"""
    for kind in ("c_int", "c_double"):
        subprocess.run([sys.executable, "-c", text.replace("KIND", kind), str(tmp_path / kind)], check=True, timeout=60)
    for _ in range(2):
        number, real = (ep.loads((tmp_path / kind).read_bytes()) for kind in ("c_int", "c_double"))
        assert (number.x, real.x) == (3, 3.0) and type(number.x) is int and type(real.x) is float
    assert type(real) is type(ep.loads((tmp_path / "c_double").read_bytes()))


@pytest.mark.parametrize("library", [ctypes.CDLL(None), ctypes.pythonapi])
def test_libraries_stay_where_they_are(library):
    with pytest.raises(ep.PicklingError, match=r"obj\['library'\]: a library is loaded into this process"):
        ep.dumps({"library": library})
