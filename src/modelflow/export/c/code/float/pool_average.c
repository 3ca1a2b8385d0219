static void pool_average(const float *in, float *out, const Window *w)
{
    for (int c = 0; c < w->features; c++)
        for (int y = 0; y < w->out_height; y++)
            for (int x = 0; x < w->out_width; x++) {
                const int top = y * w->down - w->above, left = x * w->right - w->left;
                const int row_0 = top < 0 ? 0 : top, row_n = top + w->rows > w->height ? w->height : top + w->rows;
                const int column_0 = left < 0 ? 0 : left;
                const int column_n = left + w->columns > w->width ? w->width : left + w->columns;
                float sum = 0.0f;
                for (int row = row_0; row < row_n; row++)
                    for (int column = column_0; column < column_n; column++) {
                        const float value = in[(c * w->height + row) * w->width + column];
                        sum += value;
                    }
                *out++ = sum / (float)(w->rows * w->columns);
            }
}
