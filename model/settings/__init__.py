"""The settings of [model] and [train]: options of every entry, and what they can be checked for.

In: sections of the configuration and the Spec. Out: frozen options, or a FunnelError. Imports
features/ alone, neither TensorFlow nor Keras, so that a configuration is checked in moments.
"""
