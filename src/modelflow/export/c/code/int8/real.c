static void real(const int8_t *in, float *out, int count, int zero, float step)
{
    for (int i = 0; i < count; i++)
        out[i] = (float)(in[i] - zero) * step;
}
