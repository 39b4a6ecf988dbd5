"""Installs the packages. Extras select the dependencies: the pipeline without TensorFlow, the
trainer without Beam, or all.
"""

from setuptools import find_packages, setup

PIPELINE = [
    "apache-beam>=2.77,<3",
    "tfx-bsl>=1.21,<2",
    "tensorflow-metadata>=1.17,<2",
    "google-crc32c>=1.5,<2",
]
TRAIN = ["tensorflow>=2.21,<2.22", "keras>=3.10,<4", "scikit-learn>=1.5,<2", "tensorboard>=2.19,<3"]
REPORT = ["matplotlib>=3.9,<4", "jinja2>=3.1,<4", "scipy>=1.13,<2"]
S3 = ["boto3>=1.35,<2"]
DEV = [
    "pytest>=8",
    "pytest-xdist>=3.6,<4",
    "hypothesis>=6.100",
    "ruff>=0.12",
    "mypy>=2,<3",
    "moto[server]>=5.1,<6",
]

setup(
    name="funnel",
    version="0.1.0",
    description=(
        "From impression, click and conversion logs to a multi-task ranking model for TF Serving"
    ),
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["features*", "pipeline*", "model*", "funnel*"]),
    package_data={
        "funnel.reports": ["templates/*.html"],
        "funnel.examples": ["*.toml"],
        **{package: ["py.typed"] for package in ("features", "pipeline", "model", "funnel")},
    },
    install_requires=[
        "numpy>=1.26",
        "pyarrow>=20,<26",
        "pydantic>=2.9,<3",
        "pyfarmhash>=0.4,<0.5",
        "rich>=13.9",
        "tomli-w>=1.1,<2",
    ],
    extras_require={
        "pipeline": PIPELINE,
        "train": TRAIN,
        "report": REPORT,
        "s3": S3,
        "all": [*PIPELINE, *TRAIN, *REPORT, *S3],
        "dev": [*PIPELINE, *TRAIN, *REPORT, *S3, *DEV],
    },
    entry_points={"console_scripts": ["funnel=funnel.cli.main:program"]},
)
