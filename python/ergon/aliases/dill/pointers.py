from ergon.aliases import _share

_share.run("ergon.pickle.pointers", globals())
