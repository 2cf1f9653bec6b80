// Plays N HLS streams: each viewer asks for the playlist every --every seconds and for every segment that is new in it, on one
// connection that it keeps. Reports, as one JSON object, what came, what it cost and how long segments took.
#include "common.h"

enum { HEAD = 4096, LIST = 1 << 16 };
enum { DEAD, IDLE, CONNECTING, READING_HEAD, READING_BODY };

typedef struct {
    int fd, state;
    const char *path;      // of its playlist
    bool list;             // what is being read is the playlist
    int64_t due, asked;    // when to poll next; when the request went out
    uint64_t last, newest; // segment numbers: fetched, and in the playlist
    size_t head_size, list_size;
    uint64_t left;
    char head[HEAD], text[LIST], name[256]; // a segment's name with %llu for its number
    uint64_t bytes, segments, polls, failed;
} viewer_t;

static struct sockaddr_in server;
static char host[128];
static viewer_t *viewers;
static int total = 1, set, core = 0;
static double seconds = 10, settle = 3, every = 2;
static const char *server_pids = "";
static bool measuring;
static samples_t times;
static uint8_t buffer[1 << 18];

static void dies(viewer_t *v, const char *why) {
    static int said;
    if (said++ < 3) fprintf(stderr, "viewer %ld: %s\n", (long)(v - viewers), why);
    v->failed++;
    v->state = DEAD;
    close(v->fd);
}

static void ask(viewer_t *v, const char *what) {
    char text[1024];
    int n = snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: viewer\r\nAccept: */*\r\n\r\n", what, host);
    v->asked = now_ns();
    v->state = READING_HEAD;
    v->head_size = v->list_size = 0;
    if (send(v->fd, text, (size_t)n, MSG_NOSIGNAL) != n) dies(v, "a request could not be sent");
}

static void ask_list(viewer_t *v) {
    v->list = true;
    v->due += (int64_t)(every * SECOND);
    ask(v, v->path);
}

static void ask_segment(viewer_t *v) {
    char name[512], full[1024];
    size_t folder = strcspn(v->path, "?");
    while (folder && v->path[folder - 1] != '/') folder--;
    snprintf(name, sizeof name, v->name, (unsigned long long)++v->last);
    snprintf(full, sizeof full, "%.*s%s", (int)folder, v->path, name);
    v->list = false;
    ask(v, full);
}

// The playlist's last segment: "main-123.ts" gives the number 123 and the name "main-%llu.ts".
static void take_list(viewer_t *v) {
    v->text[v->list_size] = 0;
    char *rest, *last = NULL;
    for (char *line = strtok_r(v->text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        if (*line && *line != '#') last = line;
    char *digits = last ? last + strlen(last) : NULL;
    char *suffix = last ? strrchr(last, '.') : NULL;
    if (!suffix) return dies(v, "a playlist without segments");
    for (digits = suffix; digits > last && digits[-1] >= '0' && digits[-1] <= '9';) digits--;
    if (digits == suffix) return dies(v, "a segment without a number");
    v->newest = strtoull(digits, NULL, 10);
    snprintf(v->name, sizeof v->name, "%.*s%%llu%s", (int)(digits - last), last, suffix);
    if (!v->last) v->last = v->newest - 1;
}

static void whole(viewer_t *v) {
    if (v->list) {
        v->polls++;
        take_list(v);
    } else {
        v->segments++;
        if (measuring) sample(&times, (double)(now_ns() - v->asked) / MS);
    }
    if (v->state == DEAD) return;
    if (v->last < v->newest) ask_segment(v);
    else v->state = IDLE;
}

static void take(viewer_t *v, uint8_t *data, size_t size) {
    v->bytes += size;
    while (size && v->state != DEAD) {
        if (v->state == READING_HEAD) {
            v->head[v->head_size++] = (char)*data++;
            size--;
            if (v->head_size + 1 >= HEAD) return dies(v, "a head without an end");
            if (v->head_size < 4 || memcmp(v->head + v->head_size - 4, "\r\n\r\n", 4)) continue;
            v->head[v->head_size] = 0;
            char *length = strcasestr(v->head, "\r\ncontent-length:");
            if (!strstr(v->head, " 200 ") || !length) return dies(v, v->head);
            v->left = strtoull(length + 17, NULL, 10);
            v->state = READING_BODY;
        }
        size_t n = size < v->left ? size : (size_t)v->left;
        if (v->list && v->list_size + n < LIST) memcpy(v->text + v->list_size, data, n), v->list_size += n;
        data += n;
        size -= n;
        v->left -= n;
        if (!v->left && v->state == READING_BODY) whole(v);
    }
}

static void on_event(viewer_t *v, uint32_t events) {
    if (v->state == DEAD) return;
    if (v->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(v->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) return dies(v, strerror(error));
        if (!(events & EPOLLOUT)) return;
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = v};
        epoll_ctl(set, EPOLL_CTL_MOD, v->fd, &e);
        v->state = IDLE;
        return;
    }
    for (int rounds = 0; rounds < 4 && v->state != DEAD; rounds++) {
        ssize_t n = recv(v->fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return dies(v, "the server left");
        if (n < 0) return;
        take(v, buffer, (size_t)n);
        if (n < (ssize_t)sizeof buffer) return;
    }
}

static void turn(void) {
    static struct epoll_event events[4096];
    int n = epoll_wait(set, events, 4096, 1);
    for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
    int64_t now = now_ns();
    for (int i = 0; i < total; i++)
        if (viewers[i].state == IDLE && viewers[i].due <= now) ask_list(&viewers[i]);
}

static void run_for(double duration) {
    for (int64_t until = now_ns() + (int64_t)(duration * SECOND); now_ns() < until;) turn();
}

// The path of each viewer's own playlist, in a line of its own; who has none asks for that of the URL.
static void take_paths(const char *file) {
    FILE *f = fopen(file, "r");
    char line[512];
    if (!f) fatal(file);
    for (int i = 0; i < total && fgets(line, sizeof line, f); i++) {
        line[strcspn(line, "\n")] = 0;
        viewers[i].path = strdup(line);
    }
    fclose(f);
}

static void start(viewer_t *v, int64_t due) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = v};
    v->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    v->state = CONNECTING;
    v->due = due;
    nodelay(v->fd);
    if (connect(v->fd, (void *)&server, sizeof server) && errno != EINPROGRESS) return dies(v, strerror(errno));
    epoll_ctl(set, EPOLL_CTL_ADD, v->fd, &e);
}

int main(int argc, char **argv) {
    const char *url = NULL, *paths = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--url")) url = value;
        else if (!strcmp(key, "--paths")) paths = value;
        else if (!strcmp(key, "--players")) total = atoi(value);
        else if (!strcmp(key, "--seconds")) seconds = atof(value);
        else if (!strcmp(key, "--settle")) settle = atof(value);
        else if (!strcmp(key, "--every")) every = atof(value);
        else if (!strcmp(key, "--server-pid")) server_pids = value;
        else if (!strcmp(key, "--server-core")) core = atoi(value);
        else fatal(key);
    }
    errno = EINVAL;
    if (!url) fatal("hls --url URL [--paths FILE --players N --seconds S --settle S --every S --server-pid P --server-core C]");
    const char *path = parse_url(url, &server, host, sizeof host);
    raise_nofile();
    signal(SIGPIPE, SIG_IGN);
    set = epoll_create1(0);
    viewers = calloc((size_t)total, sizeof *viewers);
    for (int i = 0; i < total; i++) viewers[i].path = path;
    if (paths) take_paths(paths);
    int64_t begin = now_ns();
    for (int i = 0; i < total; i++) { // spread over one interval, as viewers are
        start(&viewers[i], begin + SECOND / 2 + (int64_t)(every * SECOND * i / total));
        if (i % 50 == 49) run_for(0.01);
    }
    run_for(settle + every);

    usage_t a = process_usage(server_pids);
    double idle[2] = {-core_idle(core), -core_idle(1 - core)}, own = -self_seconds();
    uint64_t bytes = 0, segments = 0, polls = 0, failed = 0;
    for (int i = 0; i < total; i++) bytes -= viewers[i].bytes, segments -= viewers[i].segments, polls -= viewers[i].polls;
    begin = now_ns();
    measuring = true;
    run_for(seconds);
    double window = (double)(now_ns() - begin) / SECOND;
    usage_t b = process_usage(server_pids);
    idle[0] += core_idle(core), idle[1] += core_idle(1 - core), own += self_seconds();
    for (int i = 0; i < total; i++) {
        bytes += viewers[i].bytes, segments += viewers[i].segments, polls += viewers[i].polls, failed += viewers[i].failed;
    }
    double fine = b.cpu - a.cpu, coarse = b.user + b.sys - a.user - a.sys;
    printf("{\"players\": %d, \"window\": %.4f, \"bytes\": %llu, \"segments\": %llu, \"polls\": %llu, \"failed\": %llu, ", total, window,
           (unsigned long long)bytes, (unsigned long long)segments, (unsigned long long)polls, (unsigned long long)failed);
    printf("\"server_cpu\": %.6f, \"server_user\": %.3f, \"server_sys\": %.3f, \"server_rss_kib\": %.0f, \"own_cpu\": %.6f, ",
           fine > coarse - 0.03 ? fine : coarse, b.user - a.user, b.sys - a.sys, b.rss_kib, own);
    printf("\"server_core_busy\": %.4f, \"own_core_busy\": %.4f, ", 1 - idle[0] / window, 1 - idle[1] / window);
    print_samples("segment_ms", &times);
    printf("}\n");
    return failed ? 1 : 0;
}
