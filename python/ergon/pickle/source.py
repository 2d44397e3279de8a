"""Source code of objects, and code that makes an object available elsewhere: an import, or its source.

The standard library's `inspect` finds files and blocks; here are lambdas, closures, decorators and instances.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import sys
import textwrap
import types
from collections.abc import Iterator
from typing import Any

__all__ = [
    "dumpsource",
    "findsource",
    "getimport",
    "getname",
    "getsource",
    "getsourcelines",
    "importable",
    "indent",
    "isdynamic",
    "isfrommain",
    "outdent",
]

_HOME = __name__.rpartition(".")[0]


def _home(name: str = "") -> Any:
    """The package this module belongs to: it exists in more than one (see aliases/dill)."""
    return importlib.import_module(_HOME + name)


def _isinstance(obj: Any) -> bool:
    """Whether it is neither a class, a function nor anything else with code or a name of its own."""
    return not (
        inspect.isclass(obj)
        or inspect.isroutine(obj)
        or inspect.ismodule(obj)
        or inspect.iscode(obj)
        or inspect.isframe(obj)
        or inspect.istraceback(obj)
    )


def _islambda(obj: Any) -> bool:
    return inspect.isfunction(obj) and obj.__code__.co_name == "<lambda>"


def _code(obj: Any) -> types.CodeType | None:
    code = _home(".detect").code(obj)
    return code if code is None or isinstance(code, types.CodeType) else None


# --- finding lines ------------------------------------------------------------------------------------------------------


def _typed(obj: Any) -> tuple[list[str], int] | None:
    """The lines typed in an interactive session, and the last one that defines the object; None if there is none."""
    readline = sys.modules.get("readline")
    code = None if inspect.isclass(obj) else _code(obj)
    if inspect.isclass(obj):
        typed = obj.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    else:
        typed = code is not None and code.co_filename == "<stdin>"
    if readline is None or not typed:
        return None
    count = readline.get_current_history_length()
    lines = [(readline.get_history_item(number) or "") + "\n" for number in range(1, count + 1)]
    name = obj.__name__ if code is None else code.co_name
    for number in range(len(lines) - 1, -1, -1):
        words = lines[number].replace("(", " ").replace(":", " ").split()
        if name == "<lambda>":
            found = "lambda" in lines[number] and _matchlambda(obj, lines[number])
        else:
            found = name in words[1:3] and words[0] in ("def", "class", "async")
        if found:
            return lines, number
    return None


def _lines_of_file(obj: Any) -> list[str]:
    file = inspect.getsourcefile(obj) or inspect.getfile(obj)
    linecache.checkcache(file)
    module = inspect.getmodule(obj, file)
    lines = linecache.getlines(file, module.__dict__) if module else linecache.getlines(file)
    if not lines:
        raise OSError(f"could not get source code: {file} cannot be read")
    return lines


def _target(obj: Any) -> Any:
    """What there is source code of: the class of an instance, the function of a method."""
    if _isinstance(obj) and not isinstance(obj, (staticmethod, classmethod, property)):
        return type(obj)
    if isinstance(obj, property):
        return obj.fget
    return getattr(obj, "__func__", obj)


def _class_line(cls: type, lines: list[str]) -> int:
    """The number of the line on which the class statement (or its first decorator) begins."""
    wanted = [*cls.__qualname__.replace("<locals>.", "").split(".")[:-1], cls.__name__]

    def find(body: Any, path: list[str]) -> int | None:
        last = None
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                if node.name != path[0]:
                    continue
                if len(path) > 1:
                    last = find(node.body, path[1:]) or last
                elif isinstance(node, ast.ClassDef):
                    last = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            else:
                for part in ("body", "orelse", "handlers", "finalbody"):
                    last = find(getattr(node, part, None) or [], path) or last
        return last

    try:
        line = find(ast.parse("".join(lines)).body, wanted)
    except SyntaxError:
        line = None
    if line is None:
        raise OSError(f"could not find the definition of class {cls.__qualname__}")
    return line - 1


def findsource(object: Any) -> tuple[list[str], int]:
    """(all lines of the file, index of the line on which the object's definition begins).

    OSError: there is no source code; TypeError: there cannot be any.
    """
    obj = _target(object)
    found = _typed(obj)
    if found:
        return found
    lines = _lines_of_file(obj)
    if inspect.ismodule(obj):
        return lines, 0
    if inspect.isclass(obj):
        return lines, _class_line(obj, lines)
    code = _code(obj)
    if code is None:
        raise TypeError(f"there is no source code of a {type(object).__name__}")
    number = code.co_firstlineno - 1
    if number >= len(lines):
        raise OSError("lineno is out of bounds: the file has changed")
    return lines, number


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    def constants(code: types.CodeType) -> list:
        return [const.co_code if inspect.iscode(const) else const for const in code.co_consts]

    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and constants(one) == constants(other)
    )


def _lambdas(text: str) -> Iterator[tuple[ast.AST, ast.Lambda]]:
    """The lambdas in a piece of code, each with the statement or expression it is assigned by."""
    tree = ast.parse(text)
    holders = {id(node.value): node for node in ast.walk(tree) if isinstance(node, ast.Assign)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            yield holders.get(id(node), node), node


def _parses(text: str) -> str:
    """The longest beginning-to-end part of a statement that is code by itself."""
    for candidate in (text, text.strip().rstrip(","), text[text.find("lambda") :] if "lambda" in text else ""):
        piece = candidate
        while piece.strip():
            try:
                ast.parse(piece)
                return piece
            except SyntaxError:
                piece = piece.rstrip()[:-1]
                if "lambda" not in piece and "lambda" in text:
                    break
    return ""


def _find_lambda(func: Any, text: str) -> tuple[str, str]:
    """(name it is assigned to, its own source) of the function's lambda in the text."""
    piece = _parses(textwrap.dedent(text))
    candidates = []
    for holder, node in _lambdas(piece) if piece else ():
        own = ast.get_source_segment(piece, node) or ""
        name = ""
        if isinstance(holder, ast.Assign) and isinstance(holder.targets[0], ast.Name):
            name = holder.targets[0].id
        candidates.append((name, own))
        compiled = compile(f"({own})", "<lambda>", "eval").co_consts
        if any(inspect.iscode(const) and _same_code(const, func.__code__) for const in compiled):
            return name, own
    if not candidates:
        raise OSError("could not find the lambda in its line")
    return candidates[0]


def _matchlambda(func: Any, line: str) -> bool:
    """Whether the line of code has this lambda."""
    piece = _parses(textwrap.dedent(line))
    for _, node in _lambdas(piece) if piece else ():
        own = ast.get_source_segment(piece, node) or ""
        for const in compile(f"({own})", "<lambda>", "eval").co_consts:
            if inspect.iscode(const) and _same_code(const, func.__code__):
                return True
    return False


def _lambda_block(func: Any, lines: list[str], number: int) -> list[str]:
    """As many lines as the statement with the lambda takes."""
    for end in range(number + 1, min(len(lines), number + 40) + 1):
        block = lines[number:end]
        try:
            ast.parse(textwrap.dedent("".join(block)))
            return block
        except SyntaxError:
            continue
    return lines[number : number + 1]


def _outer_definition(lines: list[str], number: int) -> int:
    """The line on which the outermost definition around a line begins."""
    try:
        tree = ast.parse("".join(lines))
    except SyntaxError:
        return number
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= number + 1 <= (node.end_lineno or first):
                return first - 1
    return number


def getblocks(
    object: Any, lstrip: bool = False, enclosing: bool = False, locate: bool = False
) -> tuple[list[str], int] | list[str]:
    """The lines of the object's definition; with `locate` (lines, index of the first)."""
    obj = _target(object)
    lines, number = findsource(obj)
    if inspect.ismodule(obj):
        block = lines
    else:
        if enclosing:
            number = _outer_definition(lines, number)
        if _islambda(obj) and not (enclosing and lines[number].lstrip().startswith(("def", "class", "@"))):
            block = _lambda_block(obj, lines, number)
        else:
            block = inspect.getblock(lines[number:])
    if lstrip:
        block = _outdent(block)
    return (block, number) if locate else block


def getsourcelines(object: Any, lstrip: bool = False, enclosing: bool = False) -> tuple[list[str], int]:
    """(lines of the object's definition, number of the first, counted from one; 0 for a module).

    With `lstrip` without their indentation; with `enclosing` of the outermost function around it.
    """
    block, number = getblocks(object, lstrip, enclosing, locate=True)
    return list(block), 0 if inspect.ismodule(object) else int(number) + 1  # type: ignore[arg-type]


# --- indentation -----------------------------------------------------------------------------------------------------------


def _width(line: str) -> int:
    return len(line) - len(line.lstrip())


def indent(code: str, spaces: int = 4) -> str:
    """The code with every line moved right, except inside strings over several lines."""
    inside = _string_lines(code)
    lines = code.splitlines(keepends=True)
    return "".join(" " * spaces + line if line.strip() and n not in inside else line for n, line in enumerate(lines, 1))


def _string_lines(code: str) -> set[int]:
    """Numbers of lines that begin inside a string."""
    try:
        tree = ast.parse(textwrap.dedent(code))
    except SyntaxError:
        return set()
    return {
        number
        for node in ast.walk(tree)
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and getattr(node, "end_lineno", None)
        for number in range(node.lineno + 1, (node.end_lineno or 0) + 1)
    }


def _outdent(lines: list[str], spaces: int | None = None, all: bool = True) -> list[str]:
    if not lines:
        return []
    width = _width(lines[0]) if spaces is None else spaces
    return [line[min(width, _width(line)) :] if all or number == 0 else line for number, line in enumerate(lines)]


def outdent(code: str, spaces: int | None = None, all: bool = True) -> str:
    """The code moved left: by the first line's indentation, or `spaces`. With all=False only the first line."""
    return "".join(_outdent(code.splitlines(keepends=True), spaces, all))


# --- source ----------------------------------------------------------------------------------------------------------------------


def getsource(
    object: Any,
    alias: str = "",
    lstrip: bool = False,
    enclosing: bool = False,
    force: bool = False,
    builtin: bool = False,
) -> str:
    """The source code of an object: of an instance that of its class, followed by code that makes the instance.

    `alias` names the object at the end as well. With `lstrip` the code is not indented; with `enclosing` it is that of
    the outermost function around; with `force` an import is taken where there is no source code (of built-in names
    too, with `builtin`). OSError, TypeError: there is none.
    """
    instance = _isinstance(object) and not isinstance(object, (staticmethod, classmethod, property))
    try:
        text = "".join(getsourcelines(object, lstrip or instance or bool(alias), enclosing)[0])
    except (OSError, TypeError):
        if not force:
            raise
        return getimport(object, alias, builtin=builtin)
    if instance:
        made = f"{_HOME}.loads({_home().dumps(object)!r})\n"
        return f"import {_HOME}\n{text}{f'{alias} = ' if alias else ''}{made}"
    if not alias:
        return text
    name = getname(object)
    if alias == name:
        return text
    if _islambda(object) and not enclosing:
        if name:
            return f"{alias} = {text}"
        return f"{alias} = {_find_lambda(object, text)[1]}\n"
    return f"{text}\n{alias} = {name}\n"


def getname(obj: Any, force: bool = False, fqn: bool = False) -> str | None:
    """The name of an object; of a lambda the one it is assigned to, of an instance (with `force`) its class's.

    With `fqn` the module's name stands in front. None: it has none.
    """
    if fqn:
        return ".".join(_namespace(obj))
    if _isinstance(obj) and not hasattr(obj, "__name__"):
        if not force:
            return None
        return type(obj).__name__
    if _islambda(obj):
        try:
            return _find_lambda(obj, "".join(getsourcelines(obj)[0]))[0] or _name_in_module(obj)
        except OSError:
            return _name_in_module(obj)
    name = getattr(obj, "__name__", None)
    return name if isinstance(name, str) else None


def _name_in_module(obj: Any) -> str | None:
    """The name the object's module knows this very object by."""
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    return next((name for name, value in list(vars(module).items()) if value is obj), None) if module else None


def _namespace(obj: Any) -> list[str]:
    """The parts of the name: of its module, and its own."""
    if inspect.ismodule(obj):
        return obj.__name__.split(".")
    target = obj if hasattr(obj, "__qualname__") or hasattr(obj, "__name__") else type(obj)
    module = getattr(target, "__module__", None) or "builtins"
    qualname = getattr(target, "__qualname__", None) or target.__name__
    if "<" in qualname:
        qualname = getname(target) or qualname
    return [*module.split("."), *qualname.split(".")]


def isfrommain(obj: Any) -> bool:
    """Whether it, or its class, was defined in the program's main module."""
    module = getattr(obj, "__module__", None) or getattr(type(obj), "__module__", None)
    return module == "__main__"


def isdynamic(obj: Any) -> bool:
    """Whether it was defined by code that came from no file: exec(), or an interactive session."""
    code = _code(_target(obj)) if not inspect.isclass(obj) else None
    return code is not None and code.co_filename.startswith("<") and code.co_filename.endswith(">")


# --- imports ------------------------------------------------------------------------------------------------------------------


def _import_text(module: str, name: str, alias: str = "", builtin: bool = False) -> str:
    if module in ("", "builtins") and not builtin:
        return f"{alias} = {name}\n" if alias and alias != name else f"{name}\n"
    renamed = f" as {alias}" if alias and alias != name else ""
    text = f"from {module} import {name}{renamed}\n"
    tree = ast.parse(text)  # names may be anything: what is no import is not passed on
    if len(tree.body) != 1 or not isinstance(tree.body[0], ast.ImportFrom):
        raise SyntaxError(f"not the name of something that can be imported: {name!r}")
    return text


def _import_name(obj: Any) -> str:
    name = getname(obj, force=True) or ""
    if "<locals>" in getattr(obj, "__qualname__", ""):
        return _name_in_module(obj) or name
    return name


def getimport(obj: Any, alias: str = "", verify: bool = True, builtin: bool = False, enclosing: bool = False) -> str:
    """The statement that imports the object, or the class of an instance; for numbers and the like what they print as.

    With `builtin` names of builtins are imported too; with `enclosing` the outermost function around is. ImportError:
    with `verify`, the module has no such name. SyntaxError: it is none.
    """
    if enclosing:
        obj = _home(".detect").outermost(obj) or obj
    if inspect.ismodule(obj):
        renamed = f" as {alias}" if alias and alias != obj.__name__ else ""
        return f"import {obj.__name__}{renamed}\n"
    if _isinstance(obj):
        array = _array_import(obj, alias)
        if array:
            return array
        if type(obj).__module__ == "builtins":
            return f"{alias} = {obj!r}\n" if alias else f"{obj!r}\n"
    target = type(obj) if _isinstance(obj) else obj
    owner = type(getattr(obj, "__self__", None))
    module: str = getattr(target, "__module__", None) or getattr(owner, "__module__", None) or ""
    name = _import_name(target)
    text = _import_text(module, name, alias, builtin)
    if verify and module not in ("", "builtins", "__main__") and "." not in getattr(target, "__qualname__", ""):
        if not hasattr(importlib.import_module(module), name):
            raise ImportError(f"cannot import name {name!r} from {module!r}")
    return text


def _array_import(obj: Any, alias: str) -> str:
    """NumPy's arrays and numbers print as a call of what is imported."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(obj, (numpy.ndarray, numpy.generic)):
        return ""
    name = "array" if isinstance(obj, numpy.ndarray) else type(obj).__name__
    made = repr(obj) if isinstance(obj, numpy.ndarray) else f"{name}({obj.item()!r})"
    return f"from numpy import {name}\n{f'{alias} = ' if alias else ''}{made}\n"


def likely_import(obj: Any, passive: bool = False, explicit: bool = False) -> str:
    """The import that getimport() gives, without verifying it; with `explicit` of builtins too."""
    return getimport(obj, verify=not passive, builtin=explicit)


# --- either ----------------------------------------------------------------------------------------------------------------------


def _closure_source(func: Any, alias: str) -> str:
    """The source of a function and of what its cells hold."""
    values = _home(".detect").freevars(func)
    functions = {name: value for name, value in values.items() if inspect.isfunction(value)}
    lines = [_importable(value, name, source=True) for name, value in values.items() if name not in functions]
    text = "".join(line for line in lines)
    if functions:
        enclosing = getsource(func, lstrip=True, enclosing=True)
        wrapped = "\n".join(getsource(value, lstrip=True) for value in functions.values())
        body = f"{enclosing}\n{wrapped}"
        name = next(iter(functions.values())).__name__
    else:
        body = getsource(func, lstrip=True)
        name = getname(func) or ""
    if alias and alias != name:
        body += f"\n{alias} = {name}\n"
    return f"{text}\n{body}" if text else body


def _importable(obj: Any, alias: str = "", source: bool | None = None, builtin: bool = True) -> str:
    if source is None:
        source = isfrommain(obj) or isdynamic(obj)
    if source and not inspect.isbuiltin(obj):
        try:
            if inspect.isfunction(obj) and obj.__closure__:
                return _closure_source(obj, alias)
            if not (_isinstance(obj) and (type(obj).__module__ == "builtins" or _array_import(obj, alias))):
                return getsource(obj, alias, lstrip=True)
        except (OSError, TypeError):
            pass  # none to be had: it may be importable
    text = getimport(obj, alias, verify=False, builtin=builtin)
    return text


def importable(obj: Any, alias: str = "", source: bool | None = None, builtin: bool = True) -> str:
    """Code that makes `obj` available, as `alias` if given.

    source=True: its source code, with what its cells hold and the globals it refers to; False: an import; None: source
    code for what was defined in the main module or interactively, else an import.
    """
    text = _importable(obj, alias, source, builtin)
    if source is None:
        source = isfrommain(obj) or isdynamic(obj)
    if source and inspect.isfunction(_target(obj)):
        return _globals_source(_target(obj)) + text
    return text


def _globals_source(func: Any) -> str:
    """Code that gives their values to the globals a function refers to."""
    lines = []
    for name, value in _home(".detect").globalvars(func).items():
        if value is func or name.startswith("__"):
            continue
        try:
            lines.append(_global_source(name, value))
        except (OSError, TypeError, SyntaxError, _home().PicklingError):
            continue  # it is missing only if the function gets there
    return "".join(lines)


def _global_source(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        return getimport(value, name)
    if not _isinstance(value):
        return _importable(value, "" if getname(value) == name else name)
    try:
        if ast.literal_eval(repr(value)) == value:
            return f"{name} = {value!r}\n"
    except (ValueError, SyntaxError, TypeError):
        pass
    return f"import {_HOME}\n{name} = {_HOME}.loads({_home().dumps(value)!r})\n"


def getimportable(obj: Any, alias: str = "", byname: bool = True, explicit: bool = False) -> str:
    """importable() under its older name; with byname=False source code."""
    return importable(obj, alias, None if byname else True, explicit)


def dumpsource(object: Any, alias: str = "", new: bool = False, enclose: bool = True) -> str:
    """Code that makes a copy of the object from its pickle, under `alias`, or a name of its own.

    With `enclose` nothing else gets a name.
    """
    name = alias or "_" + (getname(object, force=True) or "object").strip("<>")
    stream = _home().dumps(object)
    if not enclose:
        return f"import {_HOME}\n{name} = {_HOME}.loads({stream!r})\n"
    return f"{name} = __import__('importlib').import_module({_HOME!r}).loads({stream!r})\n"


def _wrap(f: Any) -> Any:
    """A function that calls `f` as made anew from its source code."""

    def call(*args: Any, **kwds: Any) -> Any:
        names = dict(getattr(f, "__globals__", {}))
        exec(importable(f, alias="_", source=True), names)
        return names["_"](*args, **kwds)

    call.__name__, call.__doc__ = f.__name__, f.__doc__
    return call
