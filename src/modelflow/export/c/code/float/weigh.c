static void weigh(const float *in, const float *weights, float *out, int channels, int size)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < size; i++)
            out[c * size + i] = in[c * size + i] * weights[c];
}
