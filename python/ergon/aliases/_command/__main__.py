"""``python -m ergon.aliases``: print the folder that holds the alias packages."""

from ergon.aliases import folder

if __name__ == "__main__":
    print(folder())
