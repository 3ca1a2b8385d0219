static void add(const float *a, const float *b, float *out, int count, float low, float high)
{
    for (int i = 0; i < count; i++)
        out[i] = bounded(a[i] + b[i], low, high);
}
