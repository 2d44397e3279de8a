"""Port numbers."""

from ergon.aliases._ports import portnumber, randomport

__all__ = ["portnumber", "randomport"]

if __name__ == "__main__":
    print(randomport())
