"""The distribution `funnel`: what a package index shows, and the dependencies of each extra."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "funnel/version.py").read_text())[1]

PIPELINE = [
    "apache-beam>=2.77,<3",
    "google-crc32c>=1.5,<2",
    "protobuf>=6.31,<8",
    "tensorflow-metadata>=1.17,<2",
]
TRAIN = [
    "tensorflow>=2.21,<2.22",
    "keras>=3.12,<4",
    "protobuf>=6.31,<8",
    "scikit-learn>=1.5,<2",
    "scipy>=1.13,<2",
    "tensorboard>=2.19,<3",
]
# Brings TensorFlow and apache-beam[gcp], so it stands apart from PIPELINE and TRAIN.
INSPECT = ["tfx-bsl>=1.21,<2"]
REPORT = ["matplotlib>=3.9,<4", "jinja2>=3.1,<4", "scipy>=1.13,<2"]
S3 = ["boto3>=1.35,<2", "botocore>=1.35,<2"]
# What Beam's gs:// filesystem imports. apache-beam[gcp] has 40 clients more.
GCS = ["google-cloud-storage>=2.18.2,<4", "google-auth-httplib2>=0.1,<0.3"]
# A gRPC client of TF Serving, as in docs/serving.md.
SERVE = ["tensorflow>=2.21,<2.22", "tensorflow-serving-api>=2.19,<3"]
DEV = [
    "build>=1.2,<2",
    "gcp-storage-emulator>=2026.7",
    "hypothesis>=6.100",
    "moto[server]>=5.1,<6",
    "mypy>=2,<3",
    "pip>=26",
    "pytest>=8",
    "pytest-xdist>=3.6,<4",
    "ruff>=0.12",
    "setuptools>=77",
]

setup(
    name="funnel",
    version=VERSION,
    description=(
        "From impression, click and conversion logs to a multi-task ranking model for TF Serving"
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=[
        "ranking",
        "recommender systems",
        "multi-task learning",
        "click-through rate",
        "conversion rate",
        "MMoE",
        "PLE",
        "ESMM",
        "TensorFlow",
        "Apache Beam",
    ],
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.11",
    packages=find_packages(include=["features*", "pipeline*", "model*", "funnel*"]),
    package_data={
        "funnel.reports": ["templates/*.html"],
        "funnel.examples": ["*.toml"],
        **{package: ["py.typed"] for package in ("features", "pipeline", "model", "funnel")},
    },
    install_requires=[
        "argcomplete>=3.5,<4",
        "numpy>=1.26",
        "pyarrow>=20,<27",
        "pydantic>=2.9,<3",
        "pyfarmhash>=0.5,<0.6",
        "rich>=13.9",
        "tomli-w>=1.1,<2",
    ],
    extras_require={
        "pipeline": PIPELINE,
        "train": TRAIN,
        "inspect": INSPECT,
        "report": REPORT,
        "s3": S3,
        "gcs": GCS,
        "serve": SERVE,
        "all": ["funnel[pipeline,train,inspect,report,s3,gcs,serve]"],
        "dev": ["funnel[all]", *DEV],
    },
    entry_points={"console_scripts": ["funnel=funnel.cli.main:program"]},
)
