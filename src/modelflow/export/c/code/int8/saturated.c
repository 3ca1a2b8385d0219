static int8_t saturated(float x)
{
    if (x <= -128.0f)
        return -128;
    return (int8_t)(x >= 127.0f ? 127.0f : x + (x < 0.0f ? -0.5f : 0.5f));
}
