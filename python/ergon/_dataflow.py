"""How results flow between the statements of a function: for the graph of ``ergon explain``.

The source is read, not run: a box stands for a statement that called functionals, an arrow for results of one that another
uses (through variables and containers, as far as names show it), a dashed arrow for results that decide whether the other
is reached.
"""

import ast
import html


class Node:
    __slots__ = ("kind", "layer", "line", "loops", "note", "text", "x")

    def __init__(self, line, text, note, kind, loops):
        self.line, self.text, self.note, self.kind, self.loops = line, text, note, kind, loops
        self.layer = self.x = 0


class Graph:
    """Nodes in order of their lines; edges (from, to, kind) with kind "data", "control" or "next" (the next round of a loop)."""

    def __init__(self):
        self.nodes = []
        self.edges = {}  # (from, to) -> kind

    def edge(self, a, b, kind):
        if a == b and kind == "control":
            return
        kind = "next" if b <= a else kind
        if self.edges.get((a, b), "control") == "control":
            self.edges[(a, b)] = kind


class _Reader(ast.NodeVisitor):
    """Follows names through the statements of one function."""

    def __init__(self, notes, source):
        self.notes, self.source = notes, source  # first line of a statement -> (note, kind)
        self.graph = Graph()
        self.known = {}  # line -> number of its node
        self.origins = {}  # name -> numbers of the nodes its value comes from
        self.decided = []  # nodes whose results decide whether we are here
        self.loops = 0

    def node_at(self, statement):
        line = statement.lineno
        if line not in self.notes:
            return None
        if line not in self.known:
            note, kind = self.notes[line]
            text = self.source[line - 1].strip() if line <= len(self.source) else ""
            self.known[line] = len(self.graph.nodes)
            self.graph.nodes.append(Node(line, text, note, kind, self.loops))
        return self.known[line]

    def used(self, *parts):
        found = set()
        for part in parts:
            changed = self.changed(part)
            for inner in ast.walk(part):
                if inner is changed:
                    continue
                if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Load):
                    found |= self.origins.get(inner.id, set())
        return found

    @classmethod
    def changed(cls, statement):
        """The name whose object a statement changes by a method, and does not otherwise look at."""
        call = statement.value if isinstance(statement, ast.Expr) else None
        return cls.base(call.func) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) else None

    @staticmethod
    def base(target):
        while isinstance(target, (ast.Attribute, ast.Subscript, ast.Starred)):
            target = target.value
        return target

    def bind(self, target, origins, more=False):
        if isinstance(target, (ast.Tuple, ast.List)):
            for part in target.elts:
                self.bind(part, origins, more)
            return
        base = self.base(target)
        if isinstance(base, ast.Name):
            keep = more or base is not target
            self.origins[base.id] = origins | (self.origins.get(base.id, set()) if keep else set())

    def simple(self, statement, *parts):
        """What the statement's values come from: its own node if it has one."""
        sources = self.used(*(parts or (statement,)))
        number = self.node_at(statement)
        if number is None:
            return sources
        for source in sources:
            self.graph.edge(source, number, "data")
        for source in set().union(*self.decided):
            self.graph.edge(source, number, "control")
        return {number}

    def visit_block(self, statements):
        for statement in statements:
            self.visit(statement)

    def generic_visit(self, node):
        if not isinstance(node, ast.stmt):
            return
        origins = self.simple(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self.bind(inner.target, origins)
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                self.bind(inner.func, origins, more=True)  # a method may put them into its object
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self.bind(target, origins)
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            self.bind(node.target, origins, more=isinstance(node, ast.AugAssign))

    def visit_FunctionDef(self, node):
        """A local function: what it uses and calls counts where it is defined."""
        before = dict(self.origins)
        self.visit_block(node.body)
        inside = set().union(*self.origins.values()) if self.origins else set()
        self.origins = {**self.origins, **before, node.name: inside}

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node):
        self.visit_block(node.body)

    def deciding(self, test, *blocks):
        self.decided.append(test)
        for block in blocks:
            self.visit_block(block)
        self.decided.pop()

    def visit_If(self, node):
        before = dict(self.origins)
        self.deciding(self.simple(node, node.test), node.body)
        after, self.origins = self.origins, before
        self.deciding(self.simple(node, node.test), node.orelse)
        for name, origins in after.items():
            self.origins[name] = self.origins.get(name, set()) | origins

    def visit_loop(self, node, test, target=None):
        self.loops += 1
        for _ in range(2):  # what one round leaves, the next may use
            origins = self.simple(node, test)
            if target is not None:
                self.bind(target, origins)
            self.deciding(set() if target is not None else origins, node.body)
        self.loops -= 1
        self.visit_block(node.orelse)

    def visit_While(self, node):
        self.visit_loop(node, node.test)

    def visit_For(self, node):
        self.visit_loop(node, node.iter, node.target)

    visit_AsyncFor = visit_For

    def visit_With(self, node):
        for item in node.items:
            origins = self.simple(node, item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, origins)
        self.visit_block(node.body)

    visit_AsyncWith = visit_With

    def visit_Try(self, node):
        self.visit_block(node.body)
        for handler in node.handlers:
            self.visit_block(handler.body)
        self.visit_block(node.orelse)
        self.visit_block(node.finalbody)

    visit_TryStar = visit_Try

    def visit_Match(self, node):
        origins = self.simple(node, node.subject)
        for case in node.cases:
            for inner in ast.walk(case.pattern):
                for name in (getattr(inner, "name", None), getattr(inner, "rest", None)):
                    if isinstance(name, str):
                        self.origins[name] = origins
            self.deciding(origins, case.body)


def read(function, notes, source):
    """The graph of a function (its syntax tree), of which `notes` has first line -> (words, kind) of its statements."""
    reader = _Reader(notes, source)
    for argument in ast.walk(function.args):
        if isinstance(argument, ast.arg):
            reader.origins[argument.arg] = set()
    reader.visit_block(function.body)
    return reader.graph


# --- drawing --------------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 300, 46, 36, 40
_FILL = {"ahead": "#d9f2df", "wait": "#fdf1cc", "here": "#e8e8f4", "stop": "#f9dcdc"}
_LINE = {"ahead": "#2c8a4b", "wait": "#b58900", "here": "#7777aa", "stop": "#c0392b"}


def _thin(graph):
    """Without the arrows that say no more than others in a row do."""
    after = {}
    for (a, b), kind in graph.edges.items():
        if kind != "next":
            after.setdefault(a, set()).add(b)
    reach = {}
    for number in range(len(graph.nodes) - 1, -1, -1):  # arrows but the brown ones lead to later nodes
        reach[number] = set().union(*({b} | reach[b] for b in after.get(number, ())))
    for a, b in list(graph.edges):
        if graph.edges[a, b] != "next" and any(b in reach[middle] for middle in after[a] if middle != b):
            del graph.edges[a, b]


def _place(graph):
    """Layers by the longest way from the top, and in them the order that follows those above."""
    for (a, b), kind in sorted(graph.edges.items()):
        if kind != "next":
            graph.nodes[b].layer = max(graph.nodes[b].layer, graph.nodes[a].layer + 1)
    layers = {}
    for number, node in enumerate(graph.nodes):
        layers.setdefault(node.layer, []).append(number)
    for layer in sorted(layers):
        row = layers[layer]

        def middle(number):
            above = [graph.nodes[a].x for (a, b), kind in graph.edges.items() if b == number and kind != "next"]
            return (sum(above) / len(above) if above else 0, number)

        row.sort(key=middle)
        for position, number in enumerate(row):
            graph.nodes[number].x = position
    return [layers[layer] for layer in sorted(layers)]


def _short(text, most):
    return text if len(text) <= most else text[: most - 1] + "…"


def _box(node, x, y):
    parts = []
    if node.loops:  # several of them
        parts.append(
            f'<rect x="{x + 5}" y="{y + 5}" width="{_WIDTH}" height="{_HEIGHT}" rx="7" fill="#fff" stroke="#bbb"/>'
        )
    parts.append(
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="7" fill="{_FILL[node.kind]}"'
        f' stroke="{_LINE[node.kind]}"><title>{html.escape(node.text)}\n{html.escape(node.note)}</title></rect>'
    )
    source = html.escape(_short(f"{node.line}  {node.text}", 38))
    parts.append(f'<text x="{x + 10}" y="{y + 19}" class="source">{source}</text>')
    parts.append(f'<text x="{x + 10}" y="{y + 36}" class="note">{html.escape(_short(node.note, 50))}</text>')
    return "".join(parts)


def _arrow(a, b, kind, places):
    (ax, ay), (bx, by) = places[a], places[b]
    dashed = ' stroke-dasharray="5 4"' if kind == "control" else ""
    colour = "#c08a2d" if kind == "next" else "#667"
    if kind == "next":  # up again, on the right
        x = max(ax, bx) + _WIDTH
        path = f"M{ax + _WIDTH} {ay + 15} C{x + 40} {ay + 15} {x + 40} {by + 31} {bx + _WIDTH + 2} {by + 31}"
    else:
        x1, y1, x2, y2 = ax + _WIDTH / 2, ay + _HEIGHT, bx + _WIDTH / 2, by - 2
        path = f"M{x1} {y1} C{x1} {y1 + 22} {x2} {y2 - 22} {x2} {y2}"
    return f'<path d="{path}" fill="none" stroke="{colour}"{dashed} marker-end="url(#tip)"/>'


def svg(graphs):
    """One picture of (title, graph) pairs, below one another."""
    parts, top, widest = [], 16, 640
    for title, graph in graphs:
        _thin(graph)
        rows = _place(graph)
        most = max(map(len, rows), default=1)
        inner = most * (_WIDTH + _GAP_X)
        widest = max(widest, inner + 100)
        parts.append(f'<text x="20" y="{top + 16}" class="title">{html.escape(title)}</text>')
        top += 40
        places = {}
        for row in rows:
            left = 20 + (inner - len(row) * (_WIDTH + _GAP_X)) / 2
            for position, number in enumerate(row):
                places[number] = (left + position * (_WIDTH + _GAP_X), top)
            top += _HEIGHT + _GAP_Y
        parts += [_arrow(a, b, kind, places) for (a, b), kind in sorted(graph.edges.items())]
        parts += [_box(graph.nodes[number], *place) for number, place in places.items()]
    style = (
        ".source{font:13px ui-monospace,monospace}.note{font:11px system-ui,sans-serif;fill:#555}"
        ".title{font:600 15px system-ui,sans-serif}"
    )
    tip = (
        '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#667"/></marker>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{widest}" height="{top}" viewBox="0 0 {widest} {top}">'
        f"<style>{style}</style><defs>{tip}</defs>{''.join(parts)}</svg>\n"
    )
