# An installed tree is whole: every header compiles alone as C11 and C++17, programs run from wherever it was moved to,
# and the program of README.md compiles with pkg-config and answers.
NEEDS_BACKBONE=no
. "$(dirname "$0")/../tools/cli/lib.sh" "$@"
SOURCES=$(cd "$CLIPS/../../.." && pwd)
cmake --install "$BIN" --prefix "$work/first" >install.log 2>&1 || { tail -n 5 install.log >&2; exit 1; }
mv first moved
prefix=$work/moved
lib=$(dirname "$(find "$prefix" -name 'libdnsel.so.0')")

n=0
for header in "$prefix"/include/dnsel/*.h; do
    printf '#include <dnsel/%s>\n#include <dnsel/%s>\n' "${header##*/}" "${header##*/}" >alone.c
    check "${header##*/} as C11" gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" alone.c
    check "${header##*/} as C++17" g++ -std=c++17 -x c++ -Wall -Wextra -Wpedantic -Werror -fsyntax-only -I"$prefix/include" \
        alone.c
    n=$((n + 1))
done
wanted=$(find "$SOURCES/engine" "$SOURCES/students" "$SOURCES/selector" "$SOURCES/index" "$SOURCES/eval" "$SOURCES/training" \
    "$SOURCES/tools" \
    -path '*/include/dnsel/*.h' | wc -l)
check "$n headers installed, $wanted in the sources" [ "$n" = "$wanted" ]

# Nothing installed names a folder of the build machine.
for file in "$prefix"/bin/dns-* "$lib"/libdnsel.so.0 "$lib"/dnsel/*.so; do
    path=$(readelf -d "$file" | sed -n 's/.*R.*PATH.*\[\(.*\)\]/\1/p')
    case "$path" in
    *"$SOURCES"* | *"$BIN"* | */.cache/*) check "$file: run path $path" false ;;
    esac
done
check "SONAME" grep -q 'SONAME.*\[libdnsel\.so\.0\]' <(readelf -d "$lib/libdnsel.so.0")

for program in "$BIN"/dns-*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    name=${program##*/}
    want 0 env -u LD_LIBRARY_PATH "$prefix/bin/$name" --version
    says "$name"
    check "manual page of $name" [ -s "$prefix/share/man/man1/$name.1" ]
    check "completion of $name" bash -n "$prefix/share/bash-completion/completions/$name"
done
check "default model" [ -s "$prefix/share/dnsel/models/default/model.json" ]
check "documentation" [ -s "$prefix/share/doc/dnsel/docs/architecture.md" ]

sed -n '/^```c$/,/^```$/p' "$SOURCES/README.md" | grep -v '^```' >ask.c
export PKG_CONFIG_PATH=$lib/pkgconfig
check "version of dnsel.pc" grep -qx "$("$BIN/dns-query" --version | awk 'NR == 1 { print $NF }')" <(pkg-config --modversion dnsel)
flags=$(pkg-config --cflags --libs dnsel)
# shellcheck disable=SC2086
check "README.md: the C program" gcc -std=c11 -Wall -Wextra -Werror ask.c -o ask $flags "-Wl,-rpath,$lib"
want 2 ./ask
says "usage: ask"
if [ -e "$backbone" ]; then
    mkdir films
    cp "$CLIPS/birds.mp4" "$CLIPS/tree.mp4" films
    want 0 "$prefix/bin/dns-index" build films.dns films
    want 0 ./ask "$prefix/share/dnsel/models/default" films.dns films/tree.mp4
    says "tree.mp4"
fi
finish
