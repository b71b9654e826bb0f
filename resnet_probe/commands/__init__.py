"""The commands of `resnet-probe`, one per module: parse, call the library, write, say what was written.

Each module has one `command`. It is imported when the command is called, and imports what is slow to import
only when it runs.
"""
