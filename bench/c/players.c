// Plays N streams at once and reports, as one JSON object, what came, what it cost and how late it was.
// One thread; everybody is read every 10 ms, except a few probes that are read at once: they time the delay.
#include "players.h"

const protocol_t *const protocols[] = {&RTMP, &HTTP_FLV, &RTSP_TCP, &RTSP_UDP, &RAW_RTMP, &RAW_RTSP, &RAW_UDP};

struct sockaddr_in server;
char server_host[128];
const char *server_path, *server_url;
int raw_chunk = 4096;

static const protocol_t *protocol;
static player_t *players;
static int total = 1, playing, dead, closed, failed, probes = 8, core = 0;
static double seconds = 10, settle = 3, ramp = 250, patience = 30, fps = 30;
static int inflight = 100, tick_ms = 10;
static const char *server_pids = "";
static int everybody, probe_set; // epoll sets
static bool measuring, steady;
static samples_t delays;
static uint8_t buffer[1 << 18];

void watch(source_t *s, uint32_t events, bool change) {
    struct epoll_event e = {.events = events, .data.ptr = s};
    epoll_ctl(s->player->probe ? probe_set : everybody, change ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, s->fd, &e);
}

void player_dies(player_t *p) {
    if (p->state == DEAD) return;
    if (p->state == PLAYING) playing--, closed++;
    else failed++;
    p->state = DEAD;
    dead++;
    if (p->tcp.fd >= 0) close(p->tcp.fd);
    for (int i = 0; i < 4; i++)
        if (p->media[i].datagrams) close(p->media[i].fd), p->media[i].datagrams = false;
}

void player_send(player_t *p, const void *data, size_t size) {
    if (p->state != DEAD && send(p->tcp.fd, data, size, MSG_NOSIGNAL) != (ssize_t)size) player_dies(p);
}

void player_answers(player_t *p) {
    if (p->answers < ANSWERS) p->answers++, player_send(p, "", 1);
}

void player_requests(player_t *p) {
    p->requested = now_ns();
    if (p->state != DEAD) p->state = WAITING;
}

void player_frame(player_t *p, bool key_done) {
    p->frames++;
    if (p->state == WAITING) p->state = PLAYING, p->was_playing = true, playing++;
    if (key_done && !p->keyed) p->keyed = now_ns();
}

void player_stamp(player_t *p, uint8_t *head, size_t size) {
    (void)p;
    if (!measuring) return;
    uint8_t *digits = find_stamp(head, size);
    if (digits) sample(&delays, (double)(now_ns() - read_stamp(digits)) / MS);
}

uint64_t player_lost(const player_t *p) {
    uint64_t lost = 0;
    for (int i = 0; i < 4; i++) lost += p->media[i].lost;
    return lost;
}

int udp_socket(player_t *p, int slot, int port, bool rtcp, bool video) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), room = 1 << 20;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (void *)&at, sizeof at)) {
        if (fd >= 0) close(fd);
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    p->media[slot] = (source_t){.player = p, .fd = fd, .datagrams = true, .rtcp = rtcp, .video = video};
    watch(&p->media[slot], EPOLLIN, false);
    return 0;
}

static void note_data(player_t *p) {
    int64_t now = now_ns();
    p->arrivals += measuring;
    if (measuring && p->last_data && now - p->last_data > p->longest_gap) p->longest_gap = now - p->last_data;
    p->last_data = now;
}

// Merged writes bring many pictures at once, so a rate is taken from one arrival to another.
static void note_frames(player_t *p) {
    if (!measuring) return;
    if (!p->first_read) p->first_read = p->last_data, p->first_frames = p->frames;
    p->last_read = p->last_data;
    p->last_frames = p->frames;
}

// Share of real time that a player got; one picture of slack, since arrivals and pictures are not in phase.
static double real_time_share(const player_t *p, int64_t end) {
    if (!p->first_read) return 0;
    int64_t last = end - p->last_read > SECOND ? end : p->last_read; // a stalled player has no late arrivals
    double due = fps * (double)(last - p->first_read) / SECOND;
    if (due < 1) return 0;
    double share = ((double)(p->last_frames - p->first_frames) + 1) / due;
    return share < 1 ? share : 1;
}

static void start(player_t *p) {
    p->state = CONNECTING;
    p->connected = now_ns();
    if (protocol->udp_only) {
        p->tcp.fd = -1;
        return protocol->open(p);
    }
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    p->tcp = (source_t){.player = p, .fd = fd};
    if (fd >= 0) nodelay(fd);
    if (fd < 0 || (connect(fd, (void *)&server, sizeof server) && errno != EINPROGRESS)) return player_dies(p);
    protocol->open(p);
    watch(&p->tcp, EPOLLOUT | EPOLLIN, false);
}

static void read_datagrams(source_t *s) {
    enum { BATCH = 64, PACKET = 2048 };
    static uint8_t room[BATCH][PACKET];
    static struct iovec parts[BATCH];
    static struct mmsghdr batch[BATCH];
    player_t *p = s->player;
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){room[i], PACKET};
        batch[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (int n = BATCH; n == BATCH && p->state != DEAD;) {
        n = recvmmsg(s->fd, batch, BATCH, MSG_DONTWAIT, NULL);
        if (n > 0 && !s->rtcp) note_data(p);
        for (int i = 0; i < n && !s->rtcp; i++) {
            p->bytes += batch[i].msg_len;
            rtp_packet(p, s, room[i], batch[i].msg_len, batch[i].msg_len);
        }
    }
    if (!s->rtcp) note_frames(p);
}

static void on_event(source_t *s, uint32_t events) {
    player_t *p = s->player;
    if (p->state == DEAD) return;
    if (s->datagrams) return read_datagrams(s);
    if (p->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error) return player_dies(p);
        if (!(events & EPOLLOUT)) return;
        p->state = STARTING;
        watch(s, EPOLLIN, true);
        return protocol->connected(p);
    }
    for (int rounds = 0; rounds < 4 && p->state != DEAD; rounds++) {
        ssize_t n = recv(s->fd, buffer, sizeof buffer, 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return player_dies(p);
        if (n < 0) return;
        if (protocol != &RTSP_UDP) {
            p->bytes += (uint64_t)n;
            note_data(p);
        }
        protocol->data(p, buffer, (size_t)n);
        if (protocol != &RTSP_UDP) note_frames(p);
        if (n < (ssize_t)sizeof buffer) return;
    }
}

static void serve_probes(int timeout_ms) {
    struct epoll_event events[64];
    int n = epoll_wait(probe_set, events, 64, timeout_ms);
    for (int i = 0; i < n; i++) on_event(events[i].data.ptr, events[i].events);
}

static void serve_everybody(int timeout_ms) {
    static struct epoll_event events[16384];
    int n = epoll_wait(everybody, events, 16384, timeout_ms);
    for (int i = 0; i < n; i++) {
        on_event(events[i].data.ptr, events[i].events);
        if (i % 16 == 15) serve_probes(0);
    }
}

static void turn(void) { // one tick, in which probes are served at once
    static int64_t next;
    int64_t now = now_ns();
    if (!steady) {
        serve_everybody(1);
        serve_probes(0);
        return;
    }
    if (next < now) next = now + tick_ms * MS;
    while ((now = now_ns()) < next) serve_probes((int)((next - now + MS - 1) / MS));
    serve_everybody(0);
    next += tick_ms * MS;
}

static void keep_alive(void) {
    static int64_t next;
    int64_t now = now_ns();
    if (now < next || !protocol->tick) return;
    next = now + SECOND;
    for (int i = 0; i < total; i++)
        if (players[i].state == PLAYING) protocol->tick(&players[i]);
}

static void run_until(int64_t when) {
    while (now_ns() < when) {
        turn();
        keep_alive();
    }
}

static double join_all(void) {
    int64_t begin = now_ns(), deadline = begin + (int64_t)((total / ramp + patience) * SECOND);
    int started = 0;
    while ((started < total || playing + dead < total) && now_ns() < deadline) {
        double due = (double)(now_ns() - begin) / SECOND * ramp;
        while (started < total && started < due && started - playing - dead < inflight) start(&players[started++]);
        turn();
        keep_alive();
    }
    return (double)(now_ns() - begin) / SECOND;
}

static void report(double window, int64_t end, usage_t a, usage_t b, double own, double idle[2], double joined) {
    samples_t keys = {0}, whole = {0}, gaps = {0}, shares = {0}, arrivals = {0};
    uint64_t bytes = 0, frames = 0, lost = 0;
    double share = 0;
    for (int i = 0; i < total; i++) {
        player_t *p = &players[i];
        if (p->requested && p->keyed) {
            sample(&keys, (double)(p->keyed - p->requested) / MS);
            sample(&whole, (double)(p->keyed - p->connected) / MS);
        }
        if (!p->was_playing) continue;
        bytes += p->bytes - p->bytes_at;
        frames += p->frames - p->frames_at;
        lost += player_lost(p) - p->lost_at;
        sample(&gaps, (double)p->longest_gap / MS);
        if (p->probe) sample(&arrivals, (double)p->arrivals / window);
        double part = real_time_share(p, end);
        sample(&shares, part);
        share += part / total;
    }
    printf("{\"protocol\": \"%s\", \"players\": %d, \"playing\": %d, \"closed\": %d, \"failed\": %d, ", protocol->name,
           total, playing, closed, failed);
    printf("\"window\": %.4f, \"join_seconds\": %.3f, \"bytes\": %llu, \"frames\": %llu, \"lost_packets\": %llu, ", window,
           joined, (unsigned long long)bytes, (unsigned long long)frames, (unsigned long long)lost);
    double fine = b.cpu - a.cpu, coarse = b.user + b.sys - a.user - a.sys;
    // schedstat loses threads that ended within the window; then the coarser figure is the right one
    double cpu = fine > coarse - 0.03 ? fine : coarse;
    printf("\"server_cpu\": %.6f, \"server_user\": %.3f, \"server_sys\": %.3f, \"server_waited\": %.4f, \"server_rss_kib\": %.0f, ",
           cpu, b.user - a.user, b.sys - a.sys, b.waited - a.waited, b.rss_kib);
    printf("\"own_cpu\": %.6f, \"server_core_busy\": %.4f, \"own_core_busy\": %.4f, ", own, 1 - idle[0] / window,
           1 - idle[1] / window);
    print_samples("delay_ms", &delays);
    printf(", ");
    print_samples("first_key_ms", &keys);
    printf(", ");
    print_samples("connect_to_key_ms", &whole);
    printf(", ");
    print_samples("longest_gap_ms", &gaps);
    printf(", ");
    print_samples("arrivals_per_second", &arrivals); // of the probes: how often a player was written to
    printf(", ");
    print_samples("shares", &shares);
    printf(", \"share\": %.5f, \"lowest_share\": %.5f}\n", share, shares.count ? shares.values[0] : 0);
}

static void options(int argc, char **argv) {
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *key = argv[i], *value = argv[i + 1];
        if (!strcmp(key, "--protocol")) {
            for (size_t k = 0; k < sizeof protocols / sizeof *protocols; k++)
                if (!strcmp(protocols[k]->name, value)) protocol = protocols[k];
        } else if (!strcmp(key, "--url")) server_url = value;
        else if (!strcmp(key, "--players")) total = atoi(value);
        else if (!strcmp(key, "--seconds")) seconds = atof(value);
        else if (!strcmp(key, "--settle")) settle = atof(value);
        else if (!strcmp(key, "--ramp")) ramp = atof(value);
        else if (!strcmp(key, "--inflight")) inflight = atoi(value);
        else if (!strcmp(key, "--patience")) patience = atof(value);
        else if (!strcmp(key, "--fps")) fps = atof(value);
        else if (!strcmp(key, "--urgent")) urgent();
        else if (!strcmp(key, "--tick")) tick_ms = atoi(value);
        else if (!strcmp(key, "--probes")) probes = atoi(value);
        else if (!strcmp(key, "--server-pid")) server_pids = value;
        else if (!strcmp(key, "--server-core")) core = atoi(value);
        else if (!strcmp(key, "--chunk")) raw_chunk = atoi(value);
        else fatal(key);
    }
    if (!protocol || !server_url) {
        fprintf(stderr, "players --protocol rtmp|http-flv|rtsp-tcp|rtsp-udp|raw-rtmp|raw-rtsp|raw-udp --url URL [--players N ...]\n");
        exit(2);
    }
}

int main(int argc, char **argv) {
    errno = EINVAL;
    options(argc, argv);
    server_path = parse_url(server_url, &server, server_host, sizeof server_host);
    raise_nofile();
    signal(SIGPIPE, SIG_IGN);
    everybody = epoll_create1(0);
    probe_set = epoll_create1(0);
    players = calloc((size_t)total, sizeof *players);
    if (probes > total || tick_ms == 0) probes = total;
    for (int i = 0; i < total; i++) players[i] = (player_t){.index = i, .probe = probes && i % (total / probes) == 0};
    if (tick_ms == 0) tick_ms = 1;

    double joined = join_all();
    steady = true;
    run_until(now_ns() + (int64_t)(settle * SECOND));

    usage_t before = process_usage(server_pids);
    double idle[2] = {-core_idle(core), -core_idle(1 - core)}, own = -self_seconds();
    for (int i = 0; i < total; i++) {
        player_t *p = &players[i];
        p->bytes_at = p->bytes, p->frames_at = p->frames, p->lost_at = player_lost(p);
    }
    int64_t begin = now_ns();
    measuring = true;
    run_until(begin + (int64_t)(seconds * SECOND));
    measuring = false;
    int64_t end = now_ns();
    double window = (double)(end - begin) / SECOND;
    usage_t after = process_usage(server_pids);
    idle[0] += core_idle(core), idle[1] += core_idle(1 - core), own += self_seconds();
    report(window, end, before, after, own, idle, joined);
    return playing ? 0 : 1;
}
