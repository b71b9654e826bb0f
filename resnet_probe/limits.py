"""How much a name, a file or a picture may ask for, whoever made it: generous for every network that was published."""

DEEPEST, MOST_STAGES, WIDEST = 10_000, 64, 65_536  # layers, stages and channels of a network that a name stands for
MOST_CHANNELS = 1024  # of the images that a file says its network is for
UNHELD_LAYERS = 1202  # of a network whose file has no weights of them, since an edit may take most away
MOST_OUTPUT = 2**29  # bytes of one layer's output, for two images of the size that a file says its network is for
MOST_PIXELS = 178_956_970  # of a picture, as stored and when resized; more than any camera has, and Pillow's own limit
MOST_TOKENS = 10**9  # of a text
MOST_ANNOTATIONS = 2**30  # bytes of a file of annotations; those of COCO's 118,287 training images take under half
MOST_LABELS = 2**31  # bytes of all boxes, or of all masks, of a data set in memory
MOST_CLASSES = 65_536  # of a data set with boxes, which numbers them itself
MOST_STEPS = 4_000_000  # of a pickle: the weights of ResNet-1202 and its optimizer's state take a tenth


def most_bytes(stored: int) -> int:
    """What a file of `stored` bytes may become in memory, in bytes.

    Examples:
        >>> most_bytes(0) == 2**28
        True
    """
    return 2**28 + 8 * stored
