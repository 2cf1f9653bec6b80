// HTTP-FLV play: one GET, then tags are counted and their first bytes looked at.
#include "players.h"

enum { KEEP = 96, HEADER = 11, RESPONSE = 4096 };
enum { ANSWER, SIZE, CHUNK, CHUNK_END, BODY }; // of the response; SIZE to CHUNK_END where it comes in chunks

typedef struct {
    int step;
    char line[RESPONSE]; // the response's head, or a chunk's size
    size_t line_size;
    uint64_t chunk_left;
    uint8_t head[KEEP]; // a tag's header, or the first bytes of its body
    uint32_t head_size, skip, left;
    bool body;
} http_t;

static void tag_done(player_t *p, http_t *h) {
    uint8_t *b = h->head + HEADER;
    uint32_t have = h->head_size - HEADER;
    if (h->head[0] != 9 || have < 2 || b[1] == 0) return; // a sequence header is no picture
    if (p->probe) player_stamp(p, b, have);
    player_frame(p, b[0] >> 4 == 1);
}

static void take_tags(player_t *p, http_t *h, uint8_t *data, size_t size) {
    uint8_t *end = data + size;
    while (data < end) {
        size_t n = (size_t)(end - data);
        if (h->skip) {
            if (n > h->skip) n = h->skip;
            h->skip -= (uint32_t)n;
            data += n;
        } else if (!h->body) {
            h->head[h->head_size++] = *data++;
            if (h->head_size < HEADER) continue;
            h->left = (uint32_t)rd(h->head + 1, 3);
            h->body = true;
            if (!h->left) goto whole;
        } else {
            if (n > h->left) n = h->left;
            size_t room = KEEP - h->head_size, part = n < room ? n : room;
            memcpy(h->head + h->head_size, data, part);
            h->head_size += (uint32_t)part;
            h->left -= (uint32_t)n;
            data += n;
            if (h->left) continue;
        whole:
            tag_done(p, h);
            h->head_size = 0;
            h->body = false;
            h->skip = 4;
        }
    }
}

static void http_open(player_t *p) {
    http_t *h = p->protocol = calloc(1, sizeof *h);
    h->skip = 13; // the file's header and the first PreviousTagSize
}

static void http_connected(player_t *p) {
    char text[600];
    int n = snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: players\r\nAccept: */*\r\n\r\n",
                     server_path, server_host);
    player_requests(p);
    player_send(p, text, (size_t)n);
}

// Takes a byte of a head or a size; true once it is whole.
static bool line_done(player_t *p, http_t *h, char c, const char *end) {
    h->line[h->line_size++] = c;
    h->line[h->line_size] = 0;
    if (h->line_size + 1 >= sizeof h->line) player_dies(p);
    size_t n = strlen(end);
    return h->line_size >= n && !strcmp(h->line + h->line_size - n, end);
}

static void http_data(player_t *p, uint8_t *data, size_t size) {
    http_t *h = p->protocol;
    uint8_t *end = data + size;
    while (data < end && p->state != DEAD) {
        size_t n = (size_t)(end - data);
        switch (h->step) {
        case ANSWER:
            if (!line_done(p, h, (char)*data++, "\r\n\r\n")) break;
            if (!strstr(h->line, " 200 ")) {
                player_dies(p);
                break;
            }
            h->step = strcasestr(h->line, "\r\ntransfer-encoding: chunked") ? SIZE : BODY;
            h->line_size = 0;
            break;
        case SIZE:
            if (!line_done(p, h, (char)*data++, "\r\n")) break;
            h->chunk_left = strtoull(h->line, NULL, 16);
            h->line_size = 0;
            h->step = CHUNK;
            if (!h->chunk_left) player_dies(p);
            break;
        case CHUNK:
            if (n > h->chunk_left) n = (size_t)h->chunk_left;
            take_tags(p, h, data, n);
            data += n;
            h->chunk_left -= n;
            if (!h->chunk_left) h->step = CHUNK_END;
            break;
        case CHUNK_END:
            if (line_done(p, h, (char)*data++, "\r\n")) h->step = SIZE, h->line_size = 0;
            break;
        default:
            take_tags(p, h, data, n);
            data = end;
        }
    }
}

const protocol_t HTTP_FLV = {"http-flv", http_open, http_connected, http_data, NULL, false};
