#!/bin/sh
# Runs a command with the sanitizer of a build: sanitized.sh asan|tsan BUILD command …
# A Python that was not built with the sanitizer needs its runtime loaded first; CPython's own allocator is set
# aside so that every object is watched. Leaks are reported for C programs only: CPython frees little at exit.
set -eu

kind=$1
build=$2
shift 2
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
case $kind in
asan)
    leaks=1
    case " $* " in
    *" -m pytest "*)
        leaks=0
        LD_PRELOAD=$("${CC:-cc}" -print-file-name=libasan.so)
        PYTHONMALLOC=malloc
        PYTHONPATH=$build/site
        case $build in
        /*) ;;
        *) PYTHONPATH=$PWD/$build/site ;;
        esac
        export LD_PRELOAD PYTHONMALLOC PYTHONPATH
        ;;
    esac
    # Tests crash on purpose: a bad address stays the signal it is.
    # AddressSanitizer's reports go to files, so that none is lost: neither behind pytest's capture nor in a worker that a
    # test expects to die. UBSan's go to standard error whatever one tells it, so pytest must not capture that.
    case $build in
    /*) reports=$build/sanitizer ;;
    *) reports=$PWD/$build/sanitizer ;;
    esac
    mkdir -p "$build"
    rm -f "$reports".*
    export ASAN_OPTIONS="detect_leaks=$leaks:abort_on_error=1:handle_segv=0:handle_sigbus=0:allocator_may_return_null=1:log_path=$reports"
    status=0
    "$@" || status=$?
    for report in "$reports".*; do
        # A warning that there is no memory for an absurd length is none: tests ask for that.
        { [ -f "$report" ] && grep -qv 'WARNING: AddressSanitizer failed to allocate' "$report"; } || continue
        head -n 60 "$report"
        status=1
    done
    exit $status
    ;;
tsan)
    # A test forks a process that has threads and opens a pool in the child.
    export TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1:die_after_fork=0"
    # Older runtimes cannot place their shadow memory when addresses are spread over more bits than they know.
    if command -v setarch >/dev/null 2>&1 && setarch -R true 2>/dev/null; then
        exec setarch -R "$@"
    fi
    exec "$@"
    ;;
esac
echo "sanitized.sh: no sanitizer called $kind" >&2
exit 2
