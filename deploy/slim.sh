#!/bin/sh
# Takes out of a virtual environment what the running service never reads. About 80 MB; used by the Dockerfile.
#
#   deploy/slim.sh /opt/facet
set -eu

bin="$1/bin"
packages="$("$bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

"$bin/pip" uninstall --quiet --yes pip setuptools
rm -rf "$1/include" "$bin"/pip* "$bin"/[Aa]ctivate* "$bin/facet-train"

# Test suites, sources and headers of compiled parts, stubs for type checkers.
find "$packages" -type d -name tests -prune -exec rm -rf {} +
rm -rf "$packages/sqlalchemy/testing" "$packages/alembic/testing" "$packages/mako/testing"
find "$packages" -type f \( -name '*.pyi' -o -name '*.a' -o -name '*.h' -o -name '*.hpp' -o -name '*.c' -o -name '*.cpp' \
    -o -name '*.pyx' -o -name '*.pxd' \) -delete

# Tools that convert models, and numpy's compilers: work that is done before a model comes here.
rm -rf "$packages/onnxruntime/transformers" "$packages/onnxruntime/quantization" "$packages/onnxruntime/tools" \
    "$packages/onnxruntime/datasets" \
    "$packages/numpy/f2py" "$packages/numpy/distutils"

# Weights to train on from: the service reads the graphs beside them.
rm -f "$packages"/service/starter/*/weights.npz

# Symbols for debuggers. Libraries that wheels bring along (*.libs) stay as they were made.
find "$packages" -type f -name '*.so' -not -path '*.libs/*' -exec strip --strip-unneeded {} +

"$bin/python" -c 'import cv2, faiss, onnxruntime, cryptography, uvloop, service.app'
