// RTSP play over TCP (interleaved) or UDP; also the floor's bare RTP in both forms.
#include "players.h"

// FFmpeg and GStreamer ask for a session of 60 s about each half minute.
enum { HEAD = 256, TEXT = 16384, TRACKS = 2, KEEPALIVE_S = 25 };
enum { DESCRIBING, SETTING_UP, PLAY_SENT, ANSWERED };

typedef struct {
    int step, cseq, track, tracks, ticks;
    char session[128], control[TRACKS][512];
    bool video[TRACKS];
    char text[TEXT];
    size_t text_size, text_need;
    uint8_t head[4 + HEAD];
    size_t head_size, skip;
    uint32_t timestamp;
    bool have_timestamp, key;
} rtsp_t;

static bool starts_key(const uint8_t *payload, size_t size) { // RFC 6184 5.6 to 5.8
    if (size < 2) return false;
    int type = payload[0] & 31;
    if (type == 28) return (payload[1] & 31) == 5;
    if (type != 24) return type == 5;
    for (size_t at = 1; at + 2 < size; at += 2 + rd(payload + at, 2))
        if ((payload[at + 2] & 31) == 5) return true;
    return false;
}

// `have` bytes of a packet of `size` are there: enough for its header and for a stamp.
void rtp_packet(player_t *p, source_t *s, uint8_t *packet, size_t have, size_t size) {
    rtsp_t *r = p->protocol;
    if (have < 14 || size < 14) return;
    uint16_t sequence = (uint16_t)rd(packet + 2, 2);
    if (s->started) {
        uint16_t missing = (uint16_t)(sequence - s->sequence - 1);
        if (missing < 30000) s->lost += missing;
    }
    s->started = true;
    s->sequence = sequence;
    if (!s->video) return;
    uint32_t timestamp = (uint32_t)rd(packet + 4, 4);
    if (!r->have_timestamp || timestamp != r->timestamp) {
        r->have_timestamp = true;
        r->timestamp = timestamp;
        r->key = false;
        player_frame(p, false);
    }
    if (!p->keyed) {
        r->key |= starts_key(packet + 12, have - 12);
        if (r->key && packet[1] & 0x80) p->keyed = now_ns();
    }
    if (p->probe) player_stamp(p, packet, have);
}

static void request(player_t *p, const char *method, const char *url, const char *more) {
    rtsp_t *r = p->protocol;
    char text[2048];
    int n = snprintf(text, sizeof text, "%s %s RTSP/1.0\r\nCSeq: %d\r\nUser-Agent: bench\r\n%s", method, url,
                     ++r->cseq, more);
    if (r->session[0]) n += snprintf(text + n, sizeof text - n, "Session: %s\r\n", r->session);
    n += snprintf(text + n, sizeof text - n, "\r\n");
    player_send(p, text, (size_t)n);
}

static int pair_of_ports(player_t *p, int track, bool video) { // below Linux's ephemeral range
    static int next = 10000;
    for (int tries = 0; tries < 11000; tries++) {
        int port = next;
        next = next + 2 < 32000 ? next + 2 : 10000;
        if (udp_socket(p, 2 * track, port, false, video)) continue;
        if (!udp_socket(p, 2 * track + 1, port + 1, true, video)) return port;
        close(p->media[2 * track].fd);
    }
    return -1;
}

static void set_up(player_t *p, bool udp) {
    rtsp_t *r = p->protocol;
    char transport[128];
    int t = r->track;
    if (udp) {
        int port = pair_of_ports(p, t, r->video[t]);
        if (port < 0) return player_dies(p);
        snprintf(transport, sizeof transport, "Transport: RTP/AVP;unicast;client_port=%d-%d\r\n", port, port + 1);
    } else {
        snprintf(transport, sizeof transport, "Transport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2 * t, 2 * t + 1);
        p->media[2 * t] = (source_t){.player = p, .fd = -1, .video = r->video[t]};
    }
    r->step = SETTING_UP;
    request(p, "SETUP", r->control[t], transport);
}

static void read_sdp(rtsp_t *r, const char *headers, const char *body) {
    char base[512];
    snprintf(base, sizeof base, "%s", server_url);
    const char *given = strcasestr(headers, "\r\nContent-Base:");
    if (given) sscanf(given + 15, " %511[^\r\n]", base);
    size_t n = strlen(base);
    if (n && base[n - 1] == '/') base[n - 1] = 0;
    bool in_media = false;
    for (const char *line = body; line && *line && r->tracks < TRACKS;) {
        char control[400];
        if (!strncmp(line, "m=", 2)) {
            in_media = true;
            r->video[r->tracks] = !strncmp(line + 2, "video", 5);
        } else if (in_media && sscanf(line, "a=control:%399[^\r\n]", control) == 1) {
            if (!strncmp(control, "rtsp://", 7)) snprintf(r->control[r->tracks], 512, "%s", control);
            else snprintf(r->control[r->tracks], 512, "%.100s/%s", base, control);
            r->tracks++;
            in_media = false;
        }
        line = strchr(line, '\n');
        if (line) line++;
    }
}

static void punch(player_t *p, const char *headers) { // as real clients do, so that firewalls and servers learn us
    rtsp_t *r = p->protocol;
    const char *ports = strcasestr(headers, "server_port=");
    int rtp = 0, rtcp = 0;
    if (!ports || sscanf(ports + 12, "%d-%d", &rtp, &rtcp) < 1 || !rtp) return;
    struct sockaddr_in to = server;
    uint8_t empty[12] = {0x80}, report[8] = {0x80, 201, 0, 1, 0, 0, 0, 1};
    to.sin_port = htons((uint16_t)rtp);
    sendto(p->media[2 * r->track].fd, empty, sizeof empty, 0, (void *)&to, sizeof to);
    to.sin_port = htons((uint16_t)rtcp);
    if (rtcp) sendto(p->media[2 * r->track + 1].fd, report, sizeof report, 0, (void *)&to, sizeof to);
}

static void on_answer(player_t *p, char *headers, const char *body, bool udp) {
    rtsp_t *r = p->protocol;
    if (r->step == ANSWERED) return; // keep-alives
    if (atoi(headers + 9) != 200) {
        fprintf(stderr, "player %d: %.60s\n", p->index, headers);
        return player_dies(p);
    }
    const char *session = strcasestr(headers, "\r\nSession:");
    if (session) sscanf(session + 10, " %127[^;\r\n]", r->session);
    if (r->step == DESCRIBING) {
        read_sdp(r, headers, body);
        if (!r->tracks) return player_dies(p);
        set_up(p, udp);
    } else if (r->step == SETTING_UP) {
        if (udp) punch(p, headers);
        if (++r->track < r->tracks) return set_up(p, udp);
        r->step = PLAY_SENT;
        player_requests(p);
        request(p, "PLAY", server_url, "Range: npt=0.000-\r\n");
    } else {
        r->step = ANSWERED;
    }
}

static size_t take_text(player_t *p, rtsp_t *r, uint8_t *data, size_t size, bool udp) {
    for (size_t used = 0; used < size;) {
        if (r->text_size >= TEXT - 1) return player_dies(p), size;
        r->text[r->text_size++] = (char)data[used++];
        if (!r->text_need && r->text_size >= 4 && !memcmp(r->text + r->text_size - 4, "\r\n\r\n", 4)) {
            r->text[r->text_size] = 0;
            const char *length = strcasestr(r->text, "\r\nContent-Length:");
            r->text_need = r->text_size + (length ? (size_t)atoi(length + 17) : 0);
        }
        if (r->text_need && r->text_size == r->text_need) {
            r->text[r->text_size] = 0;
            char *body = strstr(r->text, "\r\n\r\n");
            body[2] = 0;
            r->text_size = r->text_need = 0;
            on_answer(p, r->text, body + 4, udp);
            return used;
        }
    }
    return size;
}

static void take(player_t *p, uint8_t *data, size_t size, bool udp) {
    rtsp_t *r = p->protocol;
    uint8_t *end = data + size;
    while (data < end && p->state != DEAD) {
        if (r->skip) {
            size_t n = (size_t)(end - data) < r->skip ? (size_t)(end - data) : r->skip;
            data += n;
            r->skip -= n;
        } else if (r->head_size || (!r->text_size && *data == '$')) {
            // RFC 2326 10.12: $, channel, length; then as much of the packet as we look at
            size_t want = 4;
            if (r->head_size >= 4) {
                size_t length = rd(r->head + 2, 2);
                want += length < HEAD ? length : HEAD;
            }
            size_t n = want - r->head_size;
            if (n > (size_t)(end - data)) n = (size_t)(end - data);
            memcpy(r->head + r->head_size, data, n);
            data += n;
            r->head_size += n;
            size_t length = r->head_size >= 4 ? rd(r->head + 2, 2) : 0;
            if (r->head_size < 4 || r->head_size < 4 + (length < HEAD ? length : HEAD)) continue;
            r->skip = length - (r->head_size - 4);
            size_t have = r->head_size - 4;
            r->head_size = 0;
            int channel = r->head[1];
            if (channel < 4 && !(channel & 1)) rtp_packet(p, &p->media[channel], r->head + 4, have, length);
        } else {
            data += take_text(p, r, data, (size_t)(end - data), udp);
        }
    }
}

static void tcp_data(player_t *p, uint8_t *data, size_t size) { take(p, data, size, false); }
static void udp_data(player_t *p, uint8_t *data, size_t size) { take(p, data, size, true); }

static void rtsp_open(player_t *p) { p->protocol = calloc(1, sizeof(rtsp_t)); }

static void rtsp_connected(player_t *p) { request(p, "DESCRIBE", server_url, "Accept: application/sdp\r\n"); }

static void keep_alive(player_t *p) {
    rtsp_t *r = p->protocol;
    if ((++r->ticks + p->index) % KEEPALIVE_S == 0) request(p, "OPTIONS", server_url, "");
}

static void raw_open(player_t *p) {
    rtsp_open(p);
    p->media[0] = (source_t){.player = p, .fd = -1, .video = true};
    p->media[2] = (source_t){.player = p, .fd = -1};
}

static void raw_data(player_t *p, uint8_t *data, size_t size) {
    player_answers(p);
    tcp_data(p, data, size);
}

static void raw_udp_open(player_t *p) {
    rtsp_open(p);
    for (int track = 0; track < TRACKS; track++) {
        if (pair_of_ports(p, track, track == 0) < 0) return player_dies(p);
        sendto(p->media[2 * track].fd, track ? "A" : "V", 1, 0, (void *)&server, sizeof server);
    }
    player_requests(p);
}

const protocol_t RTSP_TCP = {"rtsp-tcp", rtsp_open, rtsp_connected, tcp_data, keep_alive, false};
const protocol_t RTSP_UDP = {"rtsp-udp", rtsp_open, rtsp_connected, udp_data, keep_alive, false};
const protocol_t RAW_RTSP = {"raw-rtsp", raw_open, player_requests, raw_data, NULL, false};
const protocol_t RAW_UDP = {"raw-udp", raw_udp_open, NULL, NULL, NULL, true};
