"""Worker processes of a job on this machine: `process` is what each runs, `driver` starts them,
watches them and ends them with the job.

What goes in: Beam's options, which ask for processes. What comes out: nothing, or the Fault that
names the worker that died. It never imports TensorFlow or `model`.
"""
