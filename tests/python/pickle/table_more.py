"""The third part of table_entries.py, which runs it as if it stood there: modules, references, files, iterators."""
# ruff: noqa: F821, E402

from __future__ import annotations

import array
import collections
import contextvars
import datetime
import decimal
import functools
import io
import itertools
import json
import logging
import pathlib
import re
import string
import sys
import threading
import types
import weakref

# --- modules ------------------------------------------------------------------------------------------------------------


@entry("modules: imported, nested, and made by hand")
class _:
    def make():
        import xml.dom.minidom

        made = types.ModuleType("made_by_hand", "doc")
        made.x = [1]
        exec("def f(): return x", made.__dict__)
        made.me = made
        return [json, xml.dom.minidom, made, made.f]

    def check(back):
        assert back[0] is json and back[1].parseString("<a/>") and back[2].x == [1] and back[2].me is back[2]
        assert back[2].__doc__ == "doc" and back[3]() == [1]


@entry("loggers, root, adapters, formatters, handlers")
class _:
    def make():
        logger = logging.getLogger("table.entries")
        return [
            logger,
            logging.getLogger(),
            logging.LoggerAdapter(logger, {}),
            logging.Formatter("%(message)s"),
            logging.StreamHandler(sys.stderr),
        ]

    def check(back):
        assert (
            back[0] is logging.getLogger("table.entries")
            and back[1] is logging.getLogger()
            and back[2].logger is back[0]
        )
        assert back[4].stream is sys.stderr and back[4].acquire() is None and back[4].release() is None


# --- views, references, locks --------------------------------------------------------------------------------------------------


@entry("dict views")
class _:
    def make():
        made = {"a": 1}
        return [made, made.keys(), made.values(), made.items()]

    def check(back):
        back[0]["b"] = 2
        assert list(back[1]) == ["a", "b"] and list(back[2]) == [1, 2] and ("b", 2) in back[3]
        del back[0]["b"]


@entry("OrderedDict views")
class _:
    def make():
        made = collections.OrderedDict(a=1)
        return [made, made.keys(), made.values(), made.items()]

    def check(back):
        back[0]["b"] = 2
        assert list(back[1]) == ["a", "b"] and list(back[2]) == [1, 2] and ("b", 2) in back[3]
        del back[0]["b"]


@entry("mappingproxy, of a dict that is there too, and of a class")
class _:
    def make():
        class C:
            x = 1

        inner = {"a": [1]}
        return [inner, types.MappingProxyType(inner), vars(C), types.MappingProxyType(collections.OrderedDict(b=1))]

    def check(back):
        back[0]["new"] = 1
        assert back[1]["new"] == 1 and back[1]["a"] is back[0]["a"] and back[2]["x"] == 1 and back[3]["b"] == 1
        assert all(type(b) is types.MappingProxyType for b in back[1:])
        del back[0]["new"]


@entry("weak references, proxies, sets, dicts, methods; alive and dead")
class _:
    def make():
        class Node:
            def __init__(self):
                self.value = 1

            def get(self):
                return self.value

            def __call__(self):
                return "called"

        node = Node()
        return [node, weakref.ref(node), weakref.proxy(node), weakref.ref(Node()), weakref.WeakSet([node]),
                weakref.WeakKeyDictionary({node: 1}), weakref.WeakValueDictionary(k=node), weakref.WeakMethod(node.get)]  # fmt: skip

    def check(back):
        node = back[0]
        assert type(back[2]) is weakref.CallableProxyType and back[2].__repr__.__self__ is node
        assert (
            back[1]() is node and back[2].get() == 1 and back[2]() == "called" and back[3]() is None and node in back[4]
        )
        assert back[5][node] == 1 and back[6]["k"] is node and back[7]()() == 1


@entry("Lock and RLock: free, and held")
class _:
    def make():
        held = threading.Lock()
        held.acquire()
        again = threading.RLock()
        again.acquire()
        again.acquire()
        return threading.Lock(), held, threading.RLock(), again

    def check(back):
        free, held, fresh, again = back
        assert not free.locked() and held.locked() and free.acquire(False) and fresh.acquire(False)
        free.release(), fresh.release()
        again.release()
        assert again._is_owned()
        again.release()
        assert not again._is_owned()
        again.acquire(), again.acquire()


@entry("Condition, Event, Semaphore, Barrier, Queue, an object with a lock")
class _:
    def make():
        import queue

        class Model:
            def __init__(self):
                self.lock = threading.Lock()

            def guarded(self):
                with self.lock:
                    return 1

        made = queue.Queue()
        made.put(5)
        event = threading.Event()
        event.set()
        return [
            threading.Condition(),
            event,
            threading.Semaphore(2),
            threading.Barrier(1),
            made,
            Model(),
            queue.SimpleQueue,
        ]

    def check(back):
        with back[0]:
            back[0].notify()
        assert back[1].is_set() and back[2].acquire(blocking=False) and back[3].wait() == 0 and back[5].guarded() == 1
        assert back[4].get_nowait() == 5
        back[4].put(5), back[2].release()


@entry("context variables and contexts")
class _:
    def make():
        context = contextvars.copy_context()
        context.run(VARIABLE.set, "something")
        return VARIABLE, context, lambda: VARIABLE.get()

    def check(back):
        variable, context, get = back
        assert variable.name == "VARIABLE" and context[variable] == "something" and context.run(get) == "something"
        assert get() == "nothing" and get.__globals__.get("VARIABLE", variable) is variable


@entry("PyCapsule, where a name leads to it")
class _:
    def make():
        return datetime.datetime_CAPI

    def check(back):
        assert back is datetime.datetime_CAPI


# --- buffers, files ------------------------------------------------------------------------------------------------------------------


@entry("memoryview: shapes, formats, strides")
class _:
    def make():
        return [
            memoryview(b"abc"),
            memoryview(array.array("d", [1.5])),
            memoryview(bytes(range(6))).cast("B", (2, 3)),
            memoryview(b"abcd")[::2],
        ]

    def check(back):
        assert (
            back[0] == b"abc"
            and back[1].format == "d"
            and back[1][0] == 1.5
            and back[2].shape == (2, 3)
            and back[3] == b"ac"
        )


@entry("array.array, BytesIO, StringIO")
class _:
    def make():
        text, data = io.StringIO("hello"), io.BytesIO(b"hello")
        text.read(2), data.read(3)
        return [array.array("i", [1, 2]), array.array("u", "é"), text, data]

    def check(back):
        assert back[0].tolist() == [1, 2] and back[1].tounicode() == "é" and back[2].tell() == 2 and back[3].tell() == 3


@entry("standard streams")
class _:
    def make():
        return [sys.stdout, sys.stderr, sys.__stdout__, print]

    def check(back):
        assert back[0] is sys.stdout and back[1] is sys.stderr


@entry("files as their content: text, binary, raw, random access")
class _:
    def make():
        place = FOLDER / "content.txt"
        place.write_text("hello world\n")
        files = [place.open(), place.open("rb"), place.open("rb", buffering=0), place.open("r+b"), place.open("r+")]
        for file in files:
            file.read(6)
        return files

    def check(back):
        assert [file.tell() for file in back] == [6] * 5
        assert [file.read() for file in back] == ["world\n", b"world\n", b"world\n", b"world\n", "world\n"]
        assert all(file.name == str(FOLDER / "content.txt") for file in back)
        for file in back:
            file.seek(6)


@entry("files opened again: every mode, closed ones too")
class _:
    options = {"files": "reopen"}  # noqa: RUF012

    def make():
        place, grows = FOLDER / "reopened.txt", FOLDER / "grows.txt"
        place.write_text("hello world\n")
        grows.write_text("")
        closed = place.open()
        closed.close()
        files = [
            place.open(encoding="utf-8"),
            place.open("rb"),
            place.open("rb", buffering=0),
            place.open("r+b"),
            grows.open("w"),
            grows.open("ab"),
        ]
        for file in files[:4]:
            file.read(6)
        return [*files, closed]

    def check(back):
        text, binary, raw, random, writing, appending, closed = back
        assert [file.tell() for file in back[:4]] == [6] * 4 and text.encoding == "utf-8"
        assert (text.read(), binary.read(), raw.read(), random.read()) == (
            "world\n",
            b"world\n",
            b"world\n",
            b"world\n",
        )
        assert writing.writable() and closed.closed is not False and "a" in appending.mode
        before = (FOLDER / "grows.txt").stat().st_size
        appending.write(b"x")
        appending.flush()
        assert (FOLDER / "grows.txt").stat().st_size == before + 1
        for file in back[:4]:
            file.seek(6)


@entry("files with their content, which is written anew")
class _:
    options = {"files": "restore"}  # noqa: RUF012

    def make():
        place = FOLDER / "restored.txt"
        place.write_text("hello world\n")
        return place.open("r+")

    def check(back):
        assert back.read() == "hello world\n"
        (FOLDER / "restored.txt").unlink(missing_ok=True)

    once = True


@entry("files of _pyio")
class _:
    def make():
        import _pyio

        place = FOLDER / "pyio.txt"
        place.write_text("hello")
        return _pyio.open(str(place)), _pyio.open(str(place), "rb"), _pyio.open(str(place), "r+b")

    def check(back):
        assert [file.read() for file in back] == ["hello", b"hello", b"hello"]
        for file in back:
            file.seek(0)


# --- what iterates ---------------------------------------------------------------------------------------------------------------------


@entry("slice, range, Ellipsis, NotImplemented, complex")
class _:
    def make():
        return [slice(1, [2], None), range(1, 9, 3), ..., NotImplemented, 1 + 2j]

    def check(back):
        assert back == [slice(1, [2], None), range(1, 9, 3), ..., NotImplemented, 1 + 2j]
        assert back[2] is ... and back[3] is NotImplemented


@entry("iterators in the middle")
class _:
    def make():
        made = [iter([1, 2, 3]), iter((1, 2, 3)), iter("abc"), iter(range(3)), iter({1: 2, 3: 4}), reversed([1, 2, 3]), enumerate("abc"),
                zip("ab", [1, 2]), map(str, [1, 2]), filter(None, [1, 2]), iter(b"ab"), iter(collections.deque([1, 2]))]  # fmt: skip
        for one in made:
            next(one)
        return made

    def check(back):
        assert [list(one) for one in back] == [[2, 3], [2, 3], ["b", "c"], [1, 2], [3], [2, 1], [(1, "b"), (2, "c")],
                                               [("b", 2)], ["2"], [2], [98], [2]]  # fmt: skip

    once = True


ITERTOOLS = [
    (lambda: itertools.count(5, 2), 7),
    (lambda: itertools.repeat(1, 3), 1),
    (lambda: itertools.repeat("no end"), "no end"),
]
if sys.version_info < (3, 14):  # from then on CPython does not tell how far the others got
    ITERTOOLS += [
        (lambda: itertools.cycle("ab"), "b"),
        (lambda: itertools.pairwise("abc"), ("b", "c")),
        (lambda: itertools.accumulate([1, 2, 3]), 3),
        (lambda: itertools.chain("a", "bc"), "b"),
        (lambda: itertools.compress("abc", [1, 1, 1]), "b"),
        (lambda: itertools.dropwhile(bool, [1, 0, 2]), 2),
        (lambda: itertools.islice("abcd", 3), "b"),
        (lambda: itertools.product("ab", repeat=2), ("a", "b")),
        (lambda: itertools.permutations("abc", 2), ("a", "c")),
        (lambda: itertools.combinations("abc", 2), ("a", "c")),
        (lambda: itertools.zip_longest("ab", "x"), ("b", None)),
        (lambda: itertools.starmap(pow, [(1, 2), (2, 3)]), 8),
        (lambda: itertools.takewhile(bool, [1, 2, 0]), 2),
    ]


@entry("itertools in the middle")
class _:
    def make():
        made = [make() for make, _ in ITERTOOLS]
        for one in made:
            next(one)
        return made

    def check(back):
        assert [next(one) for one in back] == [taken for _, taken in ITERTOOLS]

    once = True


@entry("generators that have not started: arguments, closures, expressions")
class _:
    def make():
        base = 10

        def count(first, *rest, step=1, **more):
            yield from (first, *rest, step, base, sorted(more))

        return count(1, 2, step=3, a=4), (base + x for x in [1, 2]), (even(x) for x in range(3))

    def check(back):
        assert (
            list(back[0]) == [1, 2, 3, 10, ["a"]] and list(back[1]) == [11, 12] and list(back[2]) == [True, False, True]
        )

    once = True


# --- the standard library ------------------------------------------------------------------------------------------------------------------


@entry("re, datetime, decimal, paths, templates, namespaces, collections")
class _:
    def make():
        return [re.compile("a(b)", re.I), datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc), decimal.Decimal("1.5"), pathlib.Path("a/b"),
                string.Template("$x"), types.SimpleNamespace(a=1), collections.Counter("aab"), collections.defaultdict(lambda: 7),
                collections.ChainMap({"a": 1}, {"b": 2}), collections.deque([1, 2], 3), collections.UserDict(a=1)]  # fmt: skip

    def check(back):
        assert (
            back[0].match("AB")
            and back[1].year == 2020
            and back[2] == decimal.Decimal("1.5")
            and back[3] == pathlib.Path("a/b")
        )
        assert back[4].substitute(x=1) == "1" and back[5].a == 1 and back[6]["a"] == 2 and back[7]["new"] == 7
        assert back[8]["b"] == 2 and back[9].maxlen == 3 and back[10]["a"] == 1


@entry("everything above at once keeps its identities")
class _:
    def make():
        class Tree:
            def __init__(self, parent=None):
                self.parent, self.children, self.kind = parent, [], type(self)
                self.visit = lambda: self

            def add(self):
                self.children.append(type(self)(self))
                return self.children[-1]

        root = Tree()
        root.add().add()
        root.both = functools.partial(root.add), root.add
        return root

    def check(back):
        child = back.children[0]
        assert (
            child.parent is back
            and child.kind is type(back)
            and child.visit() is child
            and child.children[0].parent is child
        )
        assert back.both[0].func.__self__ is back and back.both[1].__self__ is back
