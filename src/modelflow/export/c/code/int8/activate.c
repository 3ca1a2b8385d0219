static void activate(const int8_t *in, int8_t *out, int count, const int8_t *table)
{
    for (int i = 0; i < count; i++)
        out[i] = table[in[i] + 128];
}
