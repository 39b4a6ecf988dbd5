"""The command line.

What goes in: arguments. What comes out: an exit code, lines on the screen, and one error on stderr.
It never imports TensorFlow or Beam before a command needs them.
"""
