"""TFRecords → SavedModel.

In: a preprocessed directory. Out: checkpoints, metrics and SavedModels. Imports TensorFlow and
features/, never Beam, pipeline/ or funnel/. Rooms import each other in one direction only: settings
and registry; layers, embeddings, objectives and metrics; sharing, funnels, weighting and
optimizers; config and ranking; data; training; evaluation; serving; estimator. The settings, the
registry and the configurations of the model and the training import no TensorFlow.
"""
