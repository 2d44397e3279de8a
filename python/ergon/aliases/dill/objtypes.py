"""The types of the objects that dill.load_types() has loaded, each under its name."""

from dill import objects as _objects

globals().update({_name: type(_object) for _name, _object in _objects.items()})
