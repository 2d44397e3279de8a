"""Source code of functions and classes, and code that makes an object available under a name."""

import ast
import inspect
import textwrap

__all__ = ["getsource", "getname", "getimportable", "importable"]


def getsource(object, alias=""):
    """The source code of a function or class, not indented; of a lambda the statement it stands in.

    With `alias` it is followed by code that gives the object this name as well.
    """
    text = textwrap.dedent(inspect.getsource(object))
    name = getattr(object, "__name__", "")
    if name == "<lambda>":
        target, expression = _lambda(text)
        text, name = f"{target or alias or '_'} = {expression}\n", target
    if alias and alias != name and name:
        text += f"{alias} = {name}\n"
    return text


def _lambda(text):
    """The first lambda in a piece of source code: the name it is assigned to, if any, and its own code."""
    try:
        tree = ast.parse(text)
    except SyntaxError:  # a part of a statement over several lines
        text = text[text.index("lambda") :].rstrip(",) \n")
        tree = ast.parse(text)
    found = next(node for node in ast.walk(tree) if isinstance(node, ast.Lambda))
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and node.value is found and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id, ast.get_source_segment(text, found)
    return "", ast.get_source_segment(text, found)


def getname(obj):
    """The name of a function, class or module; of a lambda the name it is assigned to."""
    name = getattr(obj, "__name__", None)
    if name == "<lambda>":
        name = _lambda(textwrap.dedent(inspect.getsource(obj)))[0]
    return name


def getimportable(obj, alias=""):
    """Code that makes `obj` available, as `alias` if given: its source code, or an import."""
    if not inspect.isbuiltin(obj) and (inspect.isfunction(obj) or inspect.isclass(obj)):
        try:
            return getsource(obj, alias)
        except (OSError, TypeError):
            pass  # no source code to be had: it may be importable
    if inspect.ismodule(obj):
        return f"import {obj.__name__}" + (f" as {alias}" if alias else "") + "\n"
    module, name = getattr(obj, "__module__", None), getattr(obj, "__name__", None)
    if module is None or name is None:
        return (f"{alias} = " if alias else "") + repr(obj) + "\n"
    return f"from {module} import {name}" + (f" as {alias}" if alias and alias != name else "") + "\n"


importable = getimportable


def _wrap(f):
    """A function that calls `f` as made anew from its source code."""

    def call(*args, **kwds):
        names = {}
        exec(getimportable(f, alias="_"), names)
        return names["_"](*args, **kwds)

    call.__name__, call.__doc__ = f.__name__, f.__doc__
    return call
