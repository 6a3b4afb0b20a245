/*
 * A disk that fails on demand, for one process: preloaded, it stands before the C library's calls that
 * write and flush files. SQLite and Rust's standard library both go through these.
 *
 * What it promises. Of the calls of one kind on files whose path contains a text (or ends with it), the
 * n-th fails as told, or that one and all after it; nothing of a failed write reaches the file. Every call that counts is
 * told in a log, one line each, so that a test knows what was hit, and whether the fault came at all.
 *
 * What it refuses to know. What is in the files.
 *
 *   FAILING_DISK_PATH   the text; without it nothing is watched
 *   FAILING_DISK_END    set: the path must end with the text
 *   FAILING_DISK_LOG    where to log: "<call> <number> <ok|failed> <path>"
 *   FAILING_DISK_CALL   "write" or "sync"
 *   FAILING_DISK_AT     which call of that kind fails, from 1; without it none does
 *   FAILING_DISK_ERROR  "EIO" or "ENOSPC"
 *   FAILING_DISK_ON     set: all calls of that kind after it fail too
 *   FAILING_DISK_KEEPS  a folder for what a power cut would leave: the content of each file when it was last
 *                       flushed, by inode, and in "names" those of a folder when that was last flushed
 *   FAILING_DISK_MOUNTS a file that is opened in the place of /proc/self/mountinfo
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, SYNC, KINDS };

static const char *const names[KINDS] = {"write", "sync"};
static const char *watched;
static int ends;
static int log_fd = -1;
static int failing_kind = -1;
static long failing_at;
static int failing_errno;
static int failing_on;
static const char *keeps;
static long counts[KINDS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* Whoever is told to fail in a way that is not known must not pass for a disk that works. */
static void refuse(const char *name) {
    dprintf(2, "failing_disk: %s cannot be used\n", name);
    _exit(99);
}

__attribute__((constructor)) static void read_orders(void) {
    const char *log = getenv("FAILING_DISK_LOG");
    const char *call = getenv("FAILING_DISK_CALL");
    const char *at = getenv("FAILING_DISK_AT");
    const char *error = getenv("FAILING_DISK_ERROR");
    watched = getenv("FAILING_DISK_PATH");
    ends = getenv("FAILING_DISK_END") != NULL;
    keeps = getenv("FAILING_DISK_KEEPS");
    if (!watched) return;
    if (log) {
        log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (log_fd < 0) refuse("FAILING_DISK_LOG");
    }
    if (!at) return;
    for (int kind = 0; kind < KINDS; kind++)
        if (call && !strcmp(call, names[kind])) failing_kind = kind;
    failing_at = strtol(at, NULL, 10);
    if (error && !strcmp(error, "EIO")) failing_errno = EIO;
    if (error && !strcmp(error, "ENOSPC")) failing_errno = ENOSPC;
    failing_on = getenv("FAILING_DISK_ON") != NULL;
    if (failing_kind < 0 || failing_at < 1 || !failing_errno) refuse("FAILING_DISK_AT");
}

/* The path of a file that is watched. */
static int is_watched(int fd, char *path, size_t room) {
    char link[64];
    if (!watched || fd == log_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, room - 1);
    if (length < 0) return 0;
    path[length] = 0;
    const char *at = strstr(path, watched);
    return at && (!ends || !at[strlen(watched)]);
}

/* Whether this call is to fail; counts and logs it. */
static int fails(enum kind kind, int fd) {
    char path[4096], line[4200];
    if (!is_watched(fd, path, sizeof path)) return 0;
    /* The log has the order of the counts. */
    pthread_mutex_lock(&mutex);
    long count = ++counts[kind];
    int failing = (int)kind == failing_kind &&
                  (count == failing_at || (failing_on && count > failing_at));
    if (log_fd >= 0) {
        int size = snprintf(line, sizeof line, "%s %ld %s %s\n", names[kind], count,
                            failing ? "failed" : "ok", path);
        if (syscall(SYS_write, log_fd, line, (size_t)size) != size) refuse("FAILING_DISK_LOG");
    }
    pthread_mutex_unlock(&mutex);
    if (failing) errno = failing_errno;
    return failing;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *bytes, size_t size) {
    return fails(WRITE, fd) ? -1 : REAL(write)(fd, bytes, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails(WRITE, fd) ? -1 : REAL(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwrite)(fd, bytes, size, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    return fails(WRITE, fd) ? -1 : REAL(pwrite64)(fd, bytes, size, at);
}

/* Replaces a file among those that are kept. */
static FILE *begin_keeping(const char *name, char *part, char *whole, size_t room) {
    snprintf(part, room, "%s/%s.part", keeps, name);
    snprintf(whole, room, "%s/%s", keeps, name);
    FILE *file = fopen(part, "w");
    if (!file) refuse("FAILING_DISK_KEEPS");
    return file;
}

static void end_keeping(FILE *file, const char *part, const char *whole) {
    if (fclose(file) || rename(part, whole)) refuse("FAILING_DISK_KEEPS");
}

/* What was flushed is kept as it is now: whoever flushes a file does not write to it meanwhile. */
static void keep(int fd) {
    char path[4096], name[64], part[4096], whole[4096], bytes[65536];
    struct stat about;
    if (!keeps || !is_watched(fd, path, sizeof path) || fstat(fd, &about)) return;
    pthread_mutex_lock(&mutex);
    if (S_ISDIR(about.st_mode)) {
        FILE *file = begin_keeping("names", part, whole, sizeof part);
        DIR *folder = opendir(path);
        struct dirent *entry;
        while (folder && (entry = readdir(folder)))
            if (entry->d_type == DT_REG)
                fprintf(file, "%llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
        if (!folder || closedir(folder)) refuse("FAILING_DISK_KEEPS");
        end_keeping(file, part, whole);
    } else {
        int copy = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        ssize_t got = 0;
        snprintf(name, sizeof name, "%llu", (unsigned long long)about.st_ino);
        FILE *file = begin_keeping(name, part, whole, sizeof part);
        /* A file without a name is gone after a power cut. */
        while (copy >= 0 && (got = read(copy, bytes, sizeof bytes)) > 0)
            if (fwrite(bytes, 1, (size_t)got, file) != (size_t)got) refuse("FAILING_DISK_KEEPS");
        end_keeping(file, part, whole);
        if (copy >= 0) close(copy);
    }
    pthread_mutex_unlock(&mutex);
}

int fsync(int fd) {
    int failed = fails(SYNC, fd) || REAL(fsync)(fd);
    if (!failed) keep(fd);
    return failed ? -1 : 0;
}

int fdatasync(int fd) {
    int failed = fails(SYNC, fd) || REAL(fdatasync)(fd);
    if (!failed) keep(fd);
    return failed ? -1 : 0;
}

/* Only what reads the list of mounts is led elsewhere. */
static const char *led(const char *path) {
    const char *mounts = getenv("FAILING_DISK_MOUNTS");
    return mounts && !strcmp(path, "/proc/self/mountinfo") ? mounts : path;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return REAL(open)(led(path), flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return REAL(open64)(led(path), flags, mode);
}
