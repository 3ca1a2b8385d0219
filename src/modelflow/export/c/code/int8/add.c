static void add(const int8_t *a, const int8_t *b, int8_t *out, int count, int zero_a, int zero_b, int zero_out, float factor_a, float factor_b)
{
    for (int i = 0; i < count; i++)
        out[i] = saturated((float)(a[i] - zero_a) * factor_a + (float)(b[i] - zero_b) * factor_b + (float)zero_out);
}
