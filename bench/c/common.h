// Clock, loopback check, /proc accounting, traces and percentiles, shared by the programs of this folder.
#ifndef COMMON_H
#define COMMON_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STAMP_ID "penstock-delay-1"
#define STAMP_ID_LEN 16
#define MS 1000000LL
#define SECOND 1000000000LL

enum { KIND_AUDIO = 8, KIND_VIDEO = 9, FLAG_KEY = 1, FLAG_CONFIG = 2 };

static inline int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static inline void sleep_until(int64_t when) {
    struct timespec t = {when / SECOND, when % SECOND};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR) {}
}

__attribute__((noreturn)) static inline void fatal(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "refused");
    exit(2);
}

static inline void be(uint8_t *at, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8) at[i] = (uint8_t)value;
}

static inline uint64_t rd(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | at[i];
    return value;
}

// "scheme://127.0.0.1:port/path": anything but loopback ends the program.
static inline const char *parse_url(const char *url, struct sockaddr_in *address, char *host, size_t room) {
    const char *p = strstr(url, "://");
    errno = EINVAL;
    if (!p) fatal(url);
    p += 3;
    const char *slash = strchrnul(p, '/');
    snprintf(host, room, "%.*s", (int)(slash - p), p);
    char name[64], *colon = strchr(host, ':');
    if (!colon || colon - host >= (long)sizeof name) fatal(url);
    snprintf(name, sizeof name, "%.*s", (int)(colon - host), host);
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, name, &address->sin_addr) != 1) fatal(url);
    if (ntohl(address->sin_addr.s_addr) >> 24 != 127) {
        fprintf(stderr, "only loopback addresses are measured, not %s\n", name);
        exit(2);
    }
    return *slash ? slash + 1 : slash;
}

static inline void raise_nofile(void) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

static inline void nodelay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

// The measuring threads must not wait behind the load on their own core; harmless where it is not permitted.
static inline void urgent(void) {
    struct sched_param first = {.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &first)) setpriority(PRIO_PROCESS, 0, -15);
}

// ---- the time stamp carried in the pictures ----

static inline uint8_t *find_stamp(uint8_t *data, size_t size) {
    uint8_t *at = memmem(data, size, STAMP_ID, STAMP_ID_LEN);
    return at && (size_t)(at - data) + STAMP_ID_LEN + 16 <= size ? at + STAMP_ID_LEN : NULL;
}

static inline void write_stamp(uint8_t *digits) {
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)now_ns());
    memcpy(digits, text, 16);
}

static inline int64_t read_stamp(const uint8_t *digits) {
    char text[17];
    memcpy(text, digits, 16);
    text[16] = 0;
    return (int64_t)strtoull(text, NULL, 16);
}

// ---- traces (bench/clip.py writes them) ----

typedef struct {
    uint32_t time;
    uint8_t kind, flags;
    uint16_t segment;
    uint32_t size;
    uint8_t *data, *stamp;
} record_t;

typedef struct {
    record_t *records;
    uint32_t count, duration;
} trace_t;

static inline trace_t load_trace(const char *path) {
    FILE *f = fopen(path, "rb");
    uint8_t head[12];
    if (!f || fread(head, 1, 12, f) != 12 || memcmp(head, "PBT1", 4)) fatal(path);
    trace_t t;
    memcpy(&t.count, head + 4, 4);
    memcpy(&t.duration, head + 8, 4);
    t.records = calloc(t.count, sizeof *t.records);
    for (uint32_t i = 0; i < t.count; i++) {
        record_t *r = &t.records[i];
        if (fread(head, 1, 12, f) != 12) fatal(path);
        memcpy(&r->time, head, 4);
        r->kind = head[4];
        r->flags = head[5];
        memcpy(&r->segment, head + 6, 2);
        memcpy(&r->size, head + 8, 4);
        r->data = malloc(r->size);
        if (fread(r->data, 1, r->size, f) != r->size) fatal(path);
        r->stamp = r->kind == KIND_VIDEO ? find_stamp(r->data, r->size) : NULL;
    }
    fclose(f);
    return t;
}

// ---- what a process has used ----

typedef struct {
    double cpu, user, sys; // seconds; cpu is the finer of the two sources
    double waited, rss_kib;
} usage_t;

// Sum over the threads, in ns resolution; `waited` is what they were ready to run and had no core.
static inline double task_seconds(const char *pid, double *waited) {
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/task", pid);
    DIR *dir = opendir(path);
    double total = 0;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "/proc/%s/task/%s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "r");
        unsigned long long ns = 0, delay = 0;
        if (f && fscanf(f, "%llu %llu", &ns, &delay) == 2) total += ns / 1e9, *waited += delay / 1e9;
        if (f) fclose(f);
    }
    if (dir) closedir(dir);
    return total;
}

static inline usage_t process_usage(const char *pids) { // "12" or "12,13"
    usage_t u = {0};
    char copy[256], *rest;
    snprintf(copy, sizeof copy, "%s", pids);
    double ticks = (double)sysconf(_SC_CLK_TCK);
    for (char *pid = strtok_r(copy, ",", &rest); pid; pid = strtok_r(NULL, ",", &rest)) {
        char path[300], text[4096];
        snprintf(path, sizeof path, "/proc/%s/stat", pid);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        size_t n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
        text[n] = 0;
        char *p = strrchr(text, ')');
        unsigned long user = 0, sys = 0;
        long rss = 0;
        if (p) // fields 14, 15 and 24 of proc(5)
            sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
                   &user, &sys, &rss);
        u.user += user / ticks;
        u.sys += sys / ticks;
        u.cpu += task_seconds(pid, &u.waited);
        u.rss_kib += rss * (sysconf(_SC_PAGESIZE) / 1024.0);
    }
    return u;
}

static inline double self_seconds(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_utime.tv_sec + r.ru_stime.tv_sec + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

// Seconds that a core was idle: exact where the tick stops in idle, unlike the busy columns, which are sampled.
static inline double core_idle(int core) {
    FILE *f = fopen("/proc/stat", "r");
    char line[512];
    double found = 0;
    while (f && fgets(line, sizeof line, f)) {
        int which;
        double v[8];
        if (line[3] == ' ' || sscanf(line, "cpu%d %lf %lf %lf %lf %lf %lf %lf %lf", &which, v, v + 1, v + 2, v + 3,
                                     v + 4, v + 5, v + 6, v + 7) != 9)
            continue;
        if (which == core) found = (v[3] + v[4]) / (double)sysconf(_SC_CLK_TCK);
    }
    if (f) fclose(f);
    return found;
}

// ---- samples ----

typedef struct {
    double *values;
    size_t count, room;
} samples_t;

static inline void sample(samples_t *s, double value) {
    if (s->count == s->room) {
        s->room = s->room ? 2 * s->room : 1024;
        s->values = realloc(s->values, s->room * sizeof *s->values);
    }
    s->values[s->count++] = value;
}

static inline int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Prints `"name": {"count": .., "p50": .., "p99": .., "max": ..}`.
static inline void print_samples(const char *name, samples_t *s) {
    if (!s->count) {
        printf("\"%s\": null", name);
        return;
    }
    qsort(s->values, s->count, sizeof *s->values, compare_doubles);
    size_t p99 = (size_t)(0.99 * (double)(s->count - 1) + 0.5);
    printf("\"%s\": {\"count\": %zu, \"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f}", name, s->count,
           s->values[s->count / 2], s->values[p99], s->values[s->count - 1]);
}
#endif
