#include "query_output.h"

#include "csv_output.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *stage_name(const dns_result *r)
{
    return r->stage == DNS_STAGE_FINE ? "fine" : "coarse";
}

void dns_query_output_begin(dns_query_output *o)
{
    o->w = dns_json_writer_to(stdout, o->format == DNS_FORMAT_JSON);
    if (o->format == DNS_FORMAT_JSON) {
        dns_json_begin_object(&o->w, NULL);
        dns_json_put_string(&o->w, "schema", "dnsel.queries/1");
        dns_json_put_string(&o->w, "networks", o->networks);
        dns_json_begin_array(&o->w, "queries");
    } else if (o->format == DNS_FORMAT_CSV) {
        puts("query,rank,id,path,score,coarse,fine,stage");
    }
}

static void put_json(dns_query_output *o, const char *query, const dns_answer *a,
                     double embed_seconds)
{
    dns_json_writer *w = &o->w;
    dns_json_begin_object(w, NULL);
    dns_json_put_string(w, "schema", "dnsel.query/1");
    dns_json_put_string(w, "query", query);
    dns_json_begin_array(w, "results");
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *r = &a->results[i];
        dns_json_begin_object(w, NULL);
        dns_json_put_integer(w, "rank", (int64_t)i + 1);
        dns_json_put_string(w, "id", r->name);
        dns_json_put_string(w, "path", r->path);
        dns_json_put_number(w, "score", (double)r->score, 6);
        dns_json_put_number(w, "coarse", (double)r->coarse, 6);
        dns_json_put_number(w, "fine", (double)r->fine, 6);
        dns_json_put_string(w, "stage", stage_name(r));
        if (!isnan(r->confidence))
            dns_json_put_number(w, "confidence", (double)r->confidence, 6);
        if (!isnan(r->probability))
            dns_json_put_number(w, "probability", (double)r->probability, 6);
        dns_json_end_object(w);
    }
    dns_json_end_array(w);
    dns_json_begin_object(w, "spent");
    dns_json_put_number(w, "embed_ms", 1e3 * embed_seconds, 4);
    dns_json_put_number(w, "open_ms", 1e3 * a->open_seconds, 4);
    dns_json_put_number(w, "coarse_ms", 1e3 * a->coarse_seconds, 4);
    dns_json_put_number(w, "route_ms", 1e3 * a->route_seconds, 4);
    dns_json_put_number(w, "fine_ms", 1e3 * a->fine_seconds, 4);
    dns_json_put_integer(w, "videos", (int64_t)a->n_videos);
    dns_json_put_string(w, "scan", dns_coarse_scan_name(a->scan));
    dns_json_put_string(w, "scan_note", a->scan_note[0] != '\0' ? a->scan_note : NULL);
    dns_json_put_integer(w, "scored", (int64_t)a->n_scored);
    dns_json_put_integer(w, "pairs", (int64_t)a->n_pairs);
    dns_json_put_integer(w, "pairs_wanted", (int64_t)a->n_wanted);
    dns_json_put_integer(w, "pairs_planned", (int64_t)a->n_planned);
    dns_json_put_integer(w, "pairs_left", (int64_t)a->n_left);
    dns_json_put_integer(w, "pairs_missing", (int64_t)a->n_missing);
    dns_json_put_string(w, "router", dns_router_name(a->router));
    dns_json_end_object(w);
    if (o->format == DNS_FORMAT_NDJSON)
        dns_json_put_string(w, "networks", o->networks);
    dns_json_end_object(w);
    if (o->format == DNS_FORMAT_NDJSON)
        fputc('\n', stdout);
}

static void put_csv(const char *query, const dns_answer *a)
{
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *r = &a->results[i];
        dns_csv_print(query);
        printf(",%zu,", i + 1);
        dns_csv_print(r->name);
        putchar(',');
        dns_csv_print(r->path);
        printf(",%.6g,%.6g,", (double)r->score, (double)r->coarse);
        if (!isnan(r->fine))
            printf("%.6g", (double)r->fine);
        printf(",%s\n", stage_name(r));
    }
}

static void put_text(dns_query_output *o, const char *query, const dns_answer *a,
                     double embed_seconds)
{
    printf("%s\n", query);
    for (size_t i = 0; i < a->n_results; i++) {
        const dns_result *r = &a->results[i];
        printf("  %3zu  %.3f  %-6s  %s\n", i + 1, (double)r->score, stage_name(r),
               r->path[0] != '\0' ? r->path : r->name);
    }
    if (a->n_results == 0)
        printf("       nothing found\n");
    if (a->n_missing > 0)
        printf("       %zu videos have no record for the fine comparison: coarse score only\n",
               a->n_missing);
    if (!o->quiet)
        printf(
            "       %zu videos ranked (scan %s%s%s), %zu of %zu compared finely (router %s): query "
            "%.0f ms, open %.1f ms, coarse %.1f ms, fine %.1f ms\n",
            a->n_videos, dns_coarse_scan_name(a->scan), a->scan_note[0] != '\0' ? ": " : "",
            a->scan_note, a->n_pairs, a->n_wanted, dns_router_name(a->router), 1e3 * embed_seconds,
            1e3 * a->open_seconds, 1e3 * (a->coarse_seconds + a->route_seconds),
            1e3 * a->fine_seconds);
}

void dns_query_output_put(dns_query_output *o, const char *query, const dns_answer *answer,
                          double embed_seconds)
{
    switch (o->format) {
    case DNS_FORMAT_TEXT:
        put_text(o, query, answer, embed_seconds);
        break;
    case DNS_FORMAT_JSON:
    case DNS_FORMAT_NDJSON:
        put_json(o, query, answer, embed_seconds);
        break;
    case DNS_FORMAT_CSV:
        put_csv(query, answer);
        break;
    }
    if (o->format != DNS_FORMAT_JSON)
        fflush(stdout);
}

dns_status dns_query_output_end(dns_query_output *o)
{
    if (o->format == DNS_FORMAT_TEXT && !o->quiet)
        printf("(%s)\n", o->networks);
    if (o->format != DNS_FORMAT_JSON)
        return DNS_OK;
    dns_json_end_array(&o->w);
    dns_json_end_object(&o->w);
    return dns_json_finish(&o->w);
}
