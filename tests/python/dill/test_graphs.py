"""Functions, classes, cells and containers that lead to one another in any way come back in the same shape."""


def test_random_graphs(program):
    out = program("""
        import dill, functools, random, types, sys

        def make_function(cell_value):
            value = cell_value
            def function(): return value
            return function

        def build(seed):
            rng = random.Random(seed)
            kinds = ["function", "class", "list", "dict", "instance", "partial", "subclass", "property class", "method"]
            nodes, fill = [], []
            for n in range(rng.randint(2, 7)):
                kind = rng.choice(kinds)
                classes = [node for node in nodes if isinstance(node, type)]
                if kind == "function": node = make_function(None)
                elif kind == "class": node = type(f"C{n}", (), {"m": make_function(None)})
                elif kind == "subclass" and classes: node = type(f"S{n}", (rng.choice(classes),), {"m": make_function(None)})
                elif kind == "property class": node = type(f"P{n}", (), {"p": property(make_function(None)), "s": staticmethod(make_function(None))})
                elif kind == "instance" and classes: node = rng.choice(classes)()
                elif kind == "dict": node = {}
                elif kind == "method" and classes: node = types.MethodType(make_function(None), rng.choice(classes))
                elif kind == "partial": node = functools.partial(make_function(None))
                else: node = []
                nodes.append(node)
            for node in nodes:
                for _ in range(rng.randint(0, 3)):
                    target = rng.choice(nodes)
                    if rng.random() < 0.3: target = (target, 1)
                    if isinstance(node, types.FunctionType):
                        if rng.random() < 0.5: node.__closure__[0].cell_contents = target
                        elif rng.random() < 0.5: setattr(node, f"a{rng.randint(0, 2)}", target)
                        else: node.__defaults__ = (target,)
                    elif isinstance(node, type): setattr(node, f"a{rng.randint(0, 2)}", target)
                    elif isinstance(node, list): node.append(target)
                    elif isinstance(node, dict): node[rng.randint(0, 3)] = target
                    elif isinstance(node, functools.partial): node.__dict__[f"k{rng.randint(0, 2)}"] = target
                    elif isinstance(node, types.MethodType): node.__func__.__closure__[0].cell_contents = target
                    else: setattr(node, f"a{rng.randint(0, 2)}", target)
            return nodes

        SKIP = {"__slotnames__", "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__"}

        def parts(obj):
            if isinstance(obj, types.FunctionType):
                cells = [("cell", cell.cell_contents) for cell in obj.__closure__ or ()]
                return cells + [("dict", sorted(obj.__dict__.items())), ("defaults", obj.__defaults__)]
            if isinstance(obj, type):
                if obj is object: return []
                own = [(k, v) for k, v in sorted(vars(obj).items()) if k not in SKIP]
                return own + [("bases", obj.__bases__)]
            if isinstance(obj, (list, tuple)): return list(enumerate(obj))
            if isinstance(obj, dict): return sorted(obj.items())
            if isinstance(obj, functools.partial): return [("func", obj.func), ("dict", sorted(obj.__dict__.items()))]
            if isinstance(obj, types.MethodType): return [("func", obj.__func__), ("self", obj.__self__)]
            if isinstance(obj, property): return [("fget", obj.fget)]
            if isinstance(obj, staticmethod): return [("func", obj.__func__)]
            if obj is None or isinstance(obj, (int, str)): return []
            return [("class", type(obj)), ("dict", sorted(vars(obj).items()))]

        def same(one, other):
            there, back, stack = {}, {}, [(one, other, "")]
            keep = []
            while stack:
                a, b, path = stack.pop()
                if type(a) is not type(b) and not (type(a).__name__ == type(b).__name__): return f"{path}: {type(a)} {type(b)}"
                if isinstance(a, (int, str)) or a is None:
                    if a != b: return f"{path}: {a!r} {b!r}"
                    continue
                if a is b and a is not object: return f"{path}: not copied"
                shared = isinstance(a, (list, dict, type, types.FunctionType)) or hasattr(a, "__dict__")
                if shared and not isinstance(a, (staticmethod, property, types.MethodType)):
                    if id(a) in there or id(b) in back:
                        if there.get(id(a)) != id(b) or back.get(id(b)) != id(a): return f"{path}: not the same one"
                        continue
                    there[id(a)], back[id(b)] = id(b), id(a)
                x, y = parts(a), parts(b)
                keep += [x, y]
                if [k for k, _ in x] != [k for k, _ in y]: return f"{path}: {[k for k, _ in x]} {[k for k, _ in y]}"
                for (k, p), (_, q) in zip(x, y):
                    if k in ("dict", "bases"):
                        if len(p) != len(q): return f"{path}.{k}"
                        pairs = zip(p, q)
                        for u, v in pairs:
                            if k == "dict":
                                if u[0] != v[0]: return f"{path}.{k}"
                                u, v = u[1], v[1]
                            stack.append((u, v, f"{path}.{k}"))
                    else:
                        stack.append((p, q, f"{path}.{k}"))
            return None

        wrong = []
        for seed in range(600):
            nodes = build(seed)
            for kwds in ({}, {"recurse": True}):
                try:
                    found = same(nodes, dill.copy(nodes, **kwds))
                except Exception as error:
                    found = repr(error)[:150]
                if found: wrong.append((seed, kwds, found))
        print(len(wrong), wrong[:6])
        assert not wrong
    """)
    assert out.startswith("0 ")
