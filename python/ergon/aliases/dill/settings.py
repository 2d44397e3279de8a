"""What dump and load do where a call does not say; change the values to change it for the whole process."""

settings = {
    "protocol": 4,
    "byref": False,
    "fmode": 0,
    "recurse": False,
    "ignore": False,
}
