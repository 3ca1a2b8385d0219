static void activate(const float *in, float *out, int count, float (*activation)(float))
{
    for (int i = 0; i < count; i++)
        out[i] = activation(in[i]);
}
